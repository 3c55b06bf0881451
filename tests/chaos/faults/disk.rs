//! Fills the disk of PostgreSQL: its busy tables are moved to a small tmpfs, which only root can mount.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use sea_orm::ConnectionTrait;
use tokio::time::sleep;

use crate::testbed::Testbed;

const FULL: Duration = Duration::from_secs(8);

/// This machine does not allow the fault. The rest of the run is judged all the same.
#[derive(Debug, thiserror::Error)]
#[error("skipped: {0}")]
pub(crate) struct Skipped(String);

pub(super) async fn fill(testbed: &Testbed) -> anyhow::Result<String> {
    let disk = SmallDisk::mount().map_err(|error| Skipped(format!("{error:#}")))?;
    let database = testbed.database().await?;
    let tablespace = disk.tablespace();
    for sql in [
        &format!("CREATE TABLESPACE chaos_small LOCATION '{}'", tablespace.display()),
        "ALTER TABLE bank_links SET TABLESPACE chaos_small",
        "ALTER TABLE outbox_events SET TABLESPACE chaos_small",
    ] {
        database.execute_unprepared(sql).await?;
    }
    disk.fill()?;
    sleep(FULL).await;
    disk.empty()?;
    for sql in [
        "ALTER TABLE bank_links SET TABLESPACE pg_default",
        "ALTER TABLE outbox_events SET TABLESPACE pg_default",
        "DROP TABLESPACE chaos_small",
    ] {
        database.execute_unprepared(sql).await?;
    }
    Ok(format!("full for {FULL:?}"))
}

/// A mounted tmpfs. Dropping it unmounts it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> anyhow::Result<Self> {
        let disk = Self(tempfile::Builder::new().prefix("banklink-chaos.").tempdir_in("/var/tmp")?.keep());
        run("mount", &["-t", "tmpfs", "-o", "size=32m,mode=755", "tmpfs", &disk.0.to_string_lossy()])?;
        // PostgreSQL that is started by root runs as this user.
        run("install", &["-d", "-m", "700", "-o", "postgres", &disk.tablespace().to_string_lossy()])?;
        Ok(disk)
    }

    /// A directory for a tablespace. It is not the mount point, which belongs to root.
    fn tablespace(&self) -> PathBuf {
        self.0.join("tablespace")
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves no byte free.
    fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        while ballast.write_all(&[0; 4096]).is_ok() {}
        Ok(())
    }

    /// Frees what [`Self::fill`] has taken.
    fn empty(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because PostgreSQL may still have a file open on it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
