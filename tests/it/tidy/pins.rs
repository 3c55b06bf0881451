//! Actions and container images are pinned: a tag can be moved, to code that would run in the checks or in production.

use super::root;

/// Where actions and images are named.
const FILES: [&str; 6] = [
    ".github/workflows/ci.yml",
    ".github/workflows/release.yml",
    "deploy/Dockerfile",
    "deploy/compose.yaml",
    "deploy/compose.monitoring.yaml",
    "deploy/compose.demo.yaml",
];
/// The image that is built from this checkout, and workflows of this checkout.
const OWN: [&str; 2] = ["banklink:", "./"];

/// The action or image that a line names.
fn named(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("- ");
    let name = ["uses: ", "image: ", "container: ", "FROM "].iter().find_map(|key| line.strip_prefix(key))?;
    name.split_whitespace().next()
}

/// Whether `name` ends with the hash of a commit, or of an image.
fn is_pinned(name: &str) -> bool {
    let Some((_, version)) = name.split_once('@') else { return false };
    let hash = version.strip_prefix("sha256:").map_or((version, 40), |digest| (digest, 64));
    hash.0.len() == hash.1 && hash.0.chars().all(|character| character.is_ascii_hexdigit())
}

#[test]
fn every_action_and_image_is_pinned() {
    let mut names = 0;
    for file in FILES {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        for name in text.lines().filter_map(named).filter(|name| !OWN.iter().any(|own| name.starts_with(own))) {
            assert!(is_pinned(name), "{file}: {name}");
            names += 1;
        }
    }
    assert!(names >= 8, "{names} actions and images were found");
}

#[test]
fn a_tag_is_no_pin() {
    for (line, pinned) in [
        ("      - uses: actions/checkout@v5", false),
        ("    image: postgres:17", false),
        ("FROM debian:bookworm-slim@sha256:abd67f AS build", false),
        ("      - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", true),
    ] {
        assert_eq!(named(line).map(is_pinned), Some(pinned), "{line}");
    }
    assert_eq!(named("      - run: make test"), None);
}
