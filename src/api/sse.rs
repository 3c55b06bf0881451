//! Frames of `text/event-stream` (HTML Living Standard, section 9.2).

use std::fmt::Write;

/// A comment, which clients ignore.
pub(super) const COMMENT: &str = ": still here\n\n";

/// A frame with the event's name, its data and, if it has one, its id.
pub(super) fn frame(event: &str, id: Option<&str>, data: &str) -> String {
    let mut frame = String::with_capacity(data.len() + 128);
    // Writing to a string cannot fail.
    if let Some(id) = id {
        let _ = writeln!(frame, "id: {id}");
    }
    let _ = writeln!(frame, "event: {event}");
    // A line break ends a field; the client puts the lines together again.
    for line in data.lines() {
        let _ = writeln!(frame, "data: {line}");
    }
    frame.push('\n');
    frame
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn data_of_several_lines_stays_one_frame() {
        assert_eq!(frame("x", Some("1"), "{\n}"), "id: 1\nevent: x\ndata: {\ndata: }\n\n");
        assert_eq!(frame("snapshot", None, "{}"), "event: snapshot\ndata: {}\n\n");
    }
}
