//! The rules of the source that the compiler does not check: layers, imports without cycles, one home for each library, small
//! files, pinned images, and plain words.

mod cycles;
mod files;
mod layers;
mod libraries;
mod paths;
mod pins;
mod words;

use std::path::{Path, PathBuf};

/// The folders that hold Rust code.
const CODE: [&str; 11] = [
    "src",
    "examples",
    "entity/src",
    "migration/src",
    "benches",
    "fuzz/fuzz_targets",
    "tests/chaos",
    "tests/it",
    "tests/limits",
    "tests/soak",
    "tests/testkit/src",
];

/// A file of Rust code.
struct Source {
    /// Relative to the root of the repository.
    path: PathBuf,
    text: String,
}

impl Source {
    /// The top-level module of the library that the file belongs to; for `src` only.
    fn module(&self) -> String {
        let first = self.path.iter().nth(1).expect("a file below src").to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The lines that are not comments.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder`, relative to the root of the repository, in order.
fn files_below(folder: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    files.sort();
    files
}

fn sources(folder: &str) -> Vec<Source> {
    let rust = files_below(folder).into_iter().filter(|path| path.extension().is_some_and(|name| name == "rs"));
    let read = |path: PathBuf| Source { text: std::fs::read_to_string(root().join(&path)).unwrap(), path };
    let sources: Vec<Source> = rust.map(read).collect();
    assert!(!sources.is_empty(), "{folder} holds no source");
    sources
}
