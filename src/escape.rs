//! Makes text harmless for people to look at, whatever it holds: bodies, headers, keys and operators' names may hold anything.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` as one line that terminals and browsers only display: control characters (C0, DEL, C1), and characters that are
/// invisible or change the direction of text, become `\uXXXX`. In a JSON document that is the same value.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_escaped(c) {
            // All of them are in the Basic Multilingual Plane. Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, zero-width characters and marks, line separators, bidirectional overrides and isolates, byte order mark.
fn is_escaped(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_interpret_is_escaped_and_the_rest_stays() {
        for (text, expected) in [
            ("\x1b[31m\x07", r"\u001b[31m\u0007"),
            ("\x7f\u{9b}2J\u{85}", r"\u007f\u009b2J\u0085"),
            ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e\u{2028}f", r"a\u202eb\u2066c\u200bd\ufeffe\u2028f"),
            ("one\ntwo\r\tthree", r"one\u000atwo\u000d\u0009three"),
            ("بنك 🏦 \\ \"é\"", "بنك 🏦 \\ \"é\""),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn an_escaped_json_document_is_the_same_value() {
        let value = serde_json::json!({ "k\u{202e}\u{9b}": "\x7f\u{200b}\x1b\n" });
        let text = serde_json::to_string(&value).unwrap();
        let printed = escaped(&text);
        assert_ne!(printed, text);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
    }
}
