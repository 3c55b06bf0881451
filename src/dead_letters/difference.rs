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
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn two_bodies_with_nothing_in_common_are_compared_in_bounded_time() {
        let body = |word: &str| (0..200_000).map(|number| format!("{word} {number}\n")).collect::<String>();
        let (sender, compared) = mpsc::channel();
        thread::spawn(move || {
            let (old, new) = (body("old"), body("new"));
            let groups = line_difference(&old, &new).grouped_ops(3);
            let lines: usize = groups.iter().flatten().map(|op| op.old_range().len() + op.new_range().len()).sum();
            sender.send(lines)
        });
        // Without the limit it takes an hour.
        assert_eq!(compared.recv_timeout(Duration::from_secs(180)), Ok(400_000));
    }
}
