//! Each of the large libraries is used in one place, so that it can be replaced there.

use super::sources;

/// Libraries and the modules that may use them. axum has several homes, each of which serves an address, and so has reqwest, each of
/// which posts webhooks or asks another server.
const HOMES: [(&str, &[&str]); 11] = [
    ("axum::", &["admin", "api", "console", "ingress", "simulator"]),
    ("backoff::", &["reconnect"]),
    ("clap::", &["cli"]),
    ("entity::", &["store"]),
    ("lapin::", &["broker"]),
    ("maud::", &["console"]),
    ("metrics_process::", &["admin"]),
    ("opentelemetry::", &["telemetry"]),
    ("opentelemetry_sdk::", &["telemetry"]),
    ("reqwest::", &["cli", "console", "lean", "simulator"]),
    ("sea_orm::", &["store"]),
];

#[test]
fn every_library_is_used_only_in_its_home() {
    for source in sources("src") {
        for (library, homes) in HOMES {
            let used = source.code().any(|line| {
                line.match_indices(library)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            });
            assert!(!used || homes.contains(&source.module().as_str()), "{} uses {library}", source.path.display());
        }
    }
}
