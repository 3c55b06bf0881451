//! The difference of two bodies, line by line.

use std::time::Duration;

use similar::TextDiff;

/// How long a difference may be looked for. Of two bodies with nothing in common it would otherwise take minutes. What is found
/// afterwards is correct, but may be longer than necessary.
const MAX_TIME: Duration = Duration::from_millis(200);

/// The difference between the lines of `old` and `new`. It keeps a thread busy for up to 200 ms.
#[must_use]
pub fn line_difference<'a>(old: &'a str, new: &'a str) -> TextDiff<'a, 'a, 'a, str> {
    TextDiff::configure().timeout(MAX_TIME).diff_lines(old, new)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn two_bodies_with_nothing_in_common_are_compared_in_bounded_time() {
        let body = |word: &str| (0..20_000).map(|number| format!("{word} {number}\n")).collect::<String>();
        let (old, new) = (body("old"), body("new"));
        let begin = Instant::now();
        let difference = line_difference(&old, &new);
        let groups = difference.grouped_ops(3);
        // Without the limit it takes more than half a minute.
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        let lines: usize = groups.iter().flatten().map(|op| op.old_range().len() + op.new_range().len()).sum();
        assert_eq!(lines, 40_000);
    }
}
