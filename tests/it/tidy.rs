//! The house rules, read off the source: layers, one library per room, small files that say what they are for.

use std::path::{Path, PathBuf};

/// A module may import only from rooms with a lower number.
const LAYERS: [(&str, u8); 19] = [
    ("domain", 0),
    ("telemetry", 0),
    ("shutdown", 0),
    ("reconnect", 0),
    ("server", 0),
    ("failpoints", 0),
    ("rate_limiter", 0),
    ("panics", 0),
    ("readiness", 0),
    ("broker", 1),
    ("store", 1),
    ("ingress", 2),
    ("worker", 2),
    ("relay", 2),
    ("admin", 2),
    ("dead_letters", 2),
    ("app", 3),
    ("cli", 4),
    ("main", 5),
];

/// Each of these libraries has one home; axum has two, each of which serves an address.
const HOMES: [(&str, &[&str]); 6] = [
    ("lapin::", &["broker"]),
    ("sea_orm::", &["store"]),
    ("entity::", &["store"]),
    ("axum::", &["ingress", "admin"]),
    ("backoff::", &["reconnect"]),
    ("clap::", &["cli"]),
];

const LONGEST: usize = 250;
const VAGUE: [&str; 4] = ["utils", "common", "helpers", "types"];

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

fn sources(under: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(under)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let path = path.strip_prefix(root).unwrap().to_path_buf();
                let room =
                    path.strip_prefix(under).unwrap().iter().next().unwrap().to_string_lossy().replace(".rs", "");
                let text = std::fs::read_to_string(root.join(&path)).unwrap();
                found.push(Source { path, room, text });
            }
        }
    }
    assert!(!found.is_empty(), "{under} holds no source");
    found
}

fn layer(room: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
}

/// The lines of a source that are code.
fn code(source: &Source) -> impl Iterator<Item = &str> {
    source.text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The rooms that a source imports: `crate::room` and each of `crate::{room, …}`.
fn imported(source: &Source) -> Vec<String> {
    let code = code(source).collect::<Vec<_>>().join("\n");
    let mut rooms = Vec::new();
    for after in code.split("crate::").skip(1) {
        let names = match after.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![after],
        };
        let room =
            |name: &str| name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        rooms.extend(names.into_iter().map(room).filter(|room| !room.is_empty()));
    }
    rooms
}

/// The items of a braced list, not those of lists within it.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

#[test]
fn a_module_imports_only_from_lower_layers() {
    for source in sources("src").iter().filter(|source| source.room != "lib") {
        let own = layer(&source.room).unwrap_or_else(|| panic!("{} has no layer", source.room));
        for room in imported(source).iter().filter(|room| **room != source.room) {
            let Some(other) = layer(room) else { continue };
            assert!(other < own, "{} (layer {own}) imports {room} (layer {other})", source.path.display());
        }
    }
}

#[test]
fn the_layers_are_seen_in_braced_imports_too() {
    let text =
        "use crate::store::{self, Store};\nuse crate::{broker::Connection, failpoints, worker::{a, b}};".to_owned();
    let source = Source { path: PathBuf::new(), room: String::new(), text };
    assert_eq!(imported(&source), ["store", "broker", "failpoints", "worker"]);
}

#[test]
fn every_library_has_one_home() {
    for source in sources("src") {
        for (library, homes) in HOMES {
            let used = code(&source).any(|line| {
                line.match_indices(library)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            });
            assert!(!used || homes.contains(&source.room.as_str()), "{} uses {library}", source.path.display());
        }
    }
}

#[test]
fn files_are_small_say_what_they_are_for_and_are_named_after_it() {
    for folder in ["src", "entity/src", "migration/src", "benches"] {
        for source in sources(folder) {
            let (path, lines) = (source.path.display(), source.text.lines().count());
            assert!(lines <= LONGEST, "{path} has {lines} lines");
            assert!(source.text.starts_with("//! "), "{path} does not open with what it promises");
            let name = source.path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(!VAGUE.contains(&name.as_str()), "{path} is named after nothing");
        }
    }
}

#[test]
fn no_test_is_ignored_and_no_lint_is_silenced_without_a_reason() {
    for folder in ["src", "entity/src", "migration/src", "tests/it", "tests/chaos", "benches"] {
        for source in sources(folder).iter().filter(|source| !source.path.ends_with("tidy.rs")) {
            for line in code(source) {
                let path = source.path.display();
                assert!(!line.contains("#[ignore") && !line.contains("#[allow("), "{path}: {line}");
            }
            let exceptions = source.text.matches("[expect(").count();
            assert_eq!(
                exceptions,
                source.text.matches("reason = \"").count(),
                "{}: an exception without a reason",
                source.path.display()
            );
        }
    }
}
