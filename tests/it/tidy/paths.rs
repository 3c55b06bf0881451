//! Reads the paths that code refers to, in `use` declarations and elsewhere.

/// Every path in `code` that begins with `crate`, `super` or `self`, split into its segments; groups in braces are expanded.
/// Unit tests at the end of the file are left out.
pub(super) fn paths(code: &str) -> Vec<Vec<String>> {
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut paths = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            let begins = !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':');
            if begins {
                let (first, rest) = code[at..].split_at(start.len() - 2);
                expand(&[first.to_owned()], &rest[2..], &mut paths);
            }
        }
    }
    paths
}

/// Adds the paths that begin with `prefix` and go on with `rest`.
pub(super) fn expand(prefix: &[String], rest: &str, paths: &mut Vec<Vec<String>>) {
    if let Some(group) = rest.trim_start().strip_prefix('{') {
        for item in items(group) {
            expand(prefix, item, paths);
        }
        return;
    }
    let rest = rest.trim_start();
    let segment: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let path = [prefix, std::slice::from_ref(&segment)].concat();
    match rest[segment.len()..].strip_prefix("::") {
        Some(rest) if !segment.is_empty() => expand(&path, rest, paths),
        _ => paths.push(path.into_iter().filter(|segment| !segment.is_empty()).collect()),
    }
}

/// The items of a group, up to its closing brace, without splitting the groups within it.
fn items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(group[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(group[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

#[test]
fn groups_are_expanded_and_unit_tests_are_left_out() {
    let code = "use crate::store::{self, Store};\nuse crate::{\n    broker::Connection,\n    worker::{a, b::C},\n};\n\
                fn f() { super::g(self::h) }\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
    let found: Vec<String> = paths(code).iter().map(|path| path.join("::")).collect();
    let expected = [
        "crate::store::self",
        "crate::store::Store",
        "crate::broker::Connection",
        "crate::worker::a",
        "crate::worker::b::C",
        "super::g",
        "self::h",
    ];
    assert_eq!(found, expected);
}
