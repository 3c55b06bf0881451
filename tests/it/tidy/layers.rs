//! A module of `src` imports only modules of lower layers.

use super::paths::paths;
use super::{Source, sources};

/// The layer of each top-level module. Modules of the same layer do not know each other.
const LAYERS: [(&str, u8); 19] = [
    ("domain", 0),
    ("failpoints", 0),
    ("panics", 0),
    ("rate_limiter", 0),
    ("readiness", 0),
    ("reconnect", 0),
    ("server", 0),
    ("shutdown", 0),
    ("telemetry", 0),
    ("broker", 1),
    ("store", 1),
    ("admin", 2),
    ("dead_letters", 2),
    ("ingress", 2),
    ("relay", 2),
    ("worker", 2),
    ("app", 3),
    ("cli", 4),
    ("main", 5),
];

/// Modules that only some of the higher layers may import.
const RESTRICTED: [(&str, &[&str]); 1] = [("dead_letters", &["cli"])];

fn layer(room: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
}

/// The top-level modules that a file imports.
fn imported_rooms(source: &Source) -> Vec<String> {
    let code = source.code().collect::<Vec<_>>().join("\n");
    let absolute = paths(&code).into_iter().filter(|path| path[0] == "crate");
    absolute.filter_map(|path| path.get(1).cloned()).filter(|room| layer(room).is_some()).collect()
}

#[test]
fn a_module_imports_only_from_lower_layers() {
    for source in sources("src").iter().filter(|source| source.room() != "lib") {
        let (path, room) = (source.path.display(), source.room());
        let own = layer(&room).unwrap_or_else(|| panic!("{path} has no layer"));
        for imported in imported_rooms(source).iter().filter(|imported| **imported != room) {
            let other = layer(imported).unwrap_or_default();
            assert!(other < own, "{path} (layer {own}) imports {imported} (layer {other})");
            let restricted = RESTRICTED.iter().find(|(name, _)| name == imported);
            let allowed = restricted.is_none_or(|(_, users)| users.contains(&room.as_str()));
            assert!(allowed, "{path} must not import {imported}");
        }
    }
}
