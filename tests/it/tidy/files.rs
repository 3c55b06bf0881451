//! Files are small, begin with their purpose, and have telling names; exceptions from lints have reasons.

use super::{CODE, sources};

const MAX_LINES: usize = 250;
const VAGUE_NAMES: [&str; 4] = ["utils", "common", "helpers", "types"];

#[test]
fn files_are_small_begin_with_their_purpose_and_are_named_after_it() {
    let mut violations = Vec::new();
    for source in CODE.iter().flat_map(|folder| sources(folder)) {
        let (path, lines) = (source.path.display(), source.text.lines().count());
        if lines > MAX_LINES {
            violations.push(format!("{path} has {lines} lines"));
        }
        if !source.text.starts_with("//! ") {
            violations.push(format!("{path} does not begin with `//! ` and its purpose"));
        }
        let name = source.path.file_stem().unwrap().to_string_lossy().into_owned();
        if VAGUE_NAMES.contains(&name.as_str()) {
            violations.push(format!("{path} has a vague name"));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn no_test_is_ignored_and_every_lint_exception_has_a_reason() {
    for source in CODE.iter().flat_map(|folder| sources(folder)).filter(|source| !source.path.ends_with(file!())) {
        let path = source.path.display();
        for line in source.code() {
            assert!(!line.contains("#[ignore") && !line.contains("#[allow("), "{path}: {line}");
        }
        let (exceptions, reasons) =
            (source.text.matches("[expect(").count(), source.text.matches("reason = \"").count());
        assert_eq!(exceptions, reasons, "{path}: an exception without a reason");
    }
}
