//! A disk so small that it can be filled: a tmpfs that only root can mount.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

/// A mounted disk. Dropping it unmounts it.
pub(crate) struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    /// Mounts one, owned by the user that a PostgreSQL started by root runs as.
    pub(crate) fn mount() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("banklink-chaos.").tempdir_in("/var/tmp")?.keep();
        let small = Self { directory };
        let directory = small.directory.display().to_string();
        run("mount", &["-t", "tmpfs", "-o", "size=32m,mode=755", "tmpfs", &directory])?;
        let space = small.path().display().to_string();
        run("install", &["-d", "-m", "700", "-o", "postgres", &space])?;
        Ok(small)
    }

    /// The directory to use.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("space")
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join("ballast")
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = std::fs::File::create(self.ballast())?;
        let block = [0; 4096];
        while ballast.write_all(&block).is_ok() {}
        Ok(())
    }

    /// There is room again.
    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: PostgreSQL may still hold a file of it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.directory).output();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
