//! Words and identifiers that the project no longer uses, because a newcomer cannot know what they mean here.

use std::path::Path;

use super::{files_below, root};

/// One entry a line: the words, a tab, and what to write instead. A `*` at the end matches any continuation. Entries with a
/// capital letter are identifiers and match exactly; the others match whole words in upper or lower case.
const BANNED: &str = include_str!("banned_words.txt");

/// Where the words must not occur. Folders are searched completely.
const FOLDERS: [&str; 9] =
    ["src", "entity", "migration", "tests", "benches", "examples", "fuzz/fuzz_targets", "deploy", "docs"];

/// Folders that a checkout need not have.
const OPTIONAL: [&str; 1] = ["docs"];

/// The list itself, and a step of the schema that names an index as existing databases have it.
const EXEMPT: [&str; 3] = [
    "tests/it/tidy/banned_words.txt",
    "migration/src/m20261122_000004_indexes.rs",
    "migration/src/m20261127_000006_deferred_events.rs",
];

struct Entry<'a> {
    words: &'a str,
    any_continuation: bool,
    instead: &'a str,
}

fn entries() -> Vec<Entry<'static>> {
    let lines = BANNED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &'static str| {
        let (words, instead) = line.split_once('\t').unwrap_or_else(|| panic!("no tab in {line:?}"));
        let any_continuation = words.ends_with('*');
        Entry { words: words.trim_end_matches('*'), any_continuation, instead }
    };
    lines.map(entry).collect()
}

impl Entry<'_> {
    /// Whether the entry occurs in a line. An underscore separates words, so identifiers in snake case are searched, too.
    fn occurs_in(&self, line: &str, lower_case_line: &str) -> bool {
        let exact = self.words.contains(|c: char| c.is_uppercase());
        let line = if exact { line } else { lower_case_line };
        line.match_indices(self.words).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + self.words.len()..]);
            let begins = !before.ends_with(char::is_alphanumeric);
            begins && (self.any_continuation || !after.starts_with(char::is_alphanumeric))
        })
    }
}

fn violations_in(path: &Path, entries: &[Entry], violations: &mut Vec<String>) {
    // Some fixtures and archives are not text.
    let Ok(text) = std::fs::read_to_string(root().join(path)) else { return };
    for (index, line) in text.lines().enumerate() {
        let lower_case_line = line.to_lowercase();
        for entry in entries.iter().filter(|entry| entry.occurs_in(line, &lower_case_line)) {
            let (path, number) = (path.display(), index + 1);
            violations.push(format!("{path}:{number}: {:?}, write: {}", entry.words, entry.instead));
        }
    }
}

#[test]
fn no_banned_word_is_used() {
    let (entries, mut violations) = (entries(), Vec::new());
    let folders = FOLDERS.iter().filter(|folder| !OPTIONAL.contains(folder) || root().join(folder).is_dir());
    let in_folders = folders.flat_map(|folder| files_below(folder));
    let in_root = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let is_text = |path: &Path| {
        path.ends_with("Makefile") || path.extension().is_some_and(|extension| extension == "md" || extension == "toml")
    };
    let in_root = in_root.filter(|path| path.is_file() && is_text(path));
    let in_root = in_root.map(|path| path.strip_prefix(root()).unwrap().to_path_buf());
    for path in in_folders.chain(in_root).filter(|path| !EXEMPT.iter().any(|exempt| path.ends_with(exempt))) {
        violations_in(&path, &entries, &mut violations);
    }
    assert!(violations.is_empty(), "{} violations\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn entries_match_whole_words_and_identifiers() {
    let occurs = |words, any_continuation, line: &str| {
        Entry { words, any_continuation, instead: "" }.occurs_in(line, &line.to_lowercase())
    };
    assert!(occurs("some word", false, "/// Some word.") && occurs("word", false, "fn a_word_in_a_name()"));
    assert!(!occurs("word", false, "words and swords") && occurs("word", true, "words"));
    assert!(
        occurs("Type", false, "Type::new()") && !occurs("Type", false, "a type") && !occurs("Type", false, "Types")
    );
}
