//! A module of `src` imports only modules of lower layers.

use super::paths::paths;
use super::{Source, sources};

/// The layer of each top-level module. Modules of the same layer do not know each other.
const LAYERS: [(&str, u8); 28] = [
    ("bisect", 0),
    ("domain", 0),
    ("escape", 0),
    ("failpoints", 0),
    ("panics", 0),
    ("rate_limiter", 0),
    ("readiness", 0),
    ("reconnect", 0),
    ("server", 0),
    ("shutdown", 0),
    ("stack", 0),
    ("telemetry", 0),
    ("times", 0),
    ("broker", 1),
    ("lean", 1),
    ("store", 1),
    ("dead_letters", 2),
    ("admin", 3),
    ("api", 3),
    ("console", 3),
    ("ingress", 3),
    ("reconcile", 3),
    ("relay", 3),
    ("simulator", 3),
    ("worker", 3),
    ("app", 4),
    ("cli", 5),
    ("main", 6),
];

/// Modules that only some of the higher layers may import.
const RESTRICTED: [(&str, &[&str]); 2] = [("dead_letters", &["cli", "console"]), ("stack", &["main"])];

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// The top-level modules that a file imports.
fn imported_modules(source: &Source) -> Vec<String> {
    let code = source.code().collect::<Vec<_>>().join("\n");
    let absolute = paths(&code).into_iter().filter(|path| path[0] == "crate");
    absolute.filter_map(|path| path.get(1).cloned()).filter(|module| layer(module).is_some()).collect()
}

#[test]
fn a_module_imports_only_from_lower_layers() {
    for source in sources("src").iter().filter(|source| source.module() != "lib") {
        let (path, module) = (source.path.display(), source.module());
        let own = layer(&module).unwrap_or_else(|| panic!("{path} has no layer"));
        for imported in imported_modules(source).iter().filter(|imported| **imported != module) {
            let other = layer(imported).unwrap_or_default();
            assert!(other < own, "{path} (layer {own}) imports {imported} (layer {other})");
            let restricted = RESTRICTED.iter().find(|(name, _)| name == imported);
            let allowed = restricted.is_none_or(|(_, users)| users.contains(&module.as_str()));
            assert!(allowed, "{path} must not import {imported}");
        }
    }
}
