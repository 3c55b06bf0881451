//! The dead letter: under which id a dead message is kept, which failures are the same one, and what a death changes.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::failure::{Failure, FailureClass};
use super::timestamp::Timestamp;

/// A death to record: a message, and why it died.
#[derive(Clone, Debug)]
pub struct DeadMessage {
    /// The message's id as it was on the wire.
    pub wire_id: String,
    /// The webhook's bytes.
    pub body: Bytes,
    /// Who sent it.
    pub source: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// The attempt that was its last.
    pub attempt: u32,
    /// Which replay it was; 0 for none.
    pub replay: u32,
    /// The message that it was edited from.
    pub edited_from: Option<String>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// Why it died.
    pub failure: Failure,
    /// When it died: one death has one time, however often it is read.
    pub at: Timestamp,
}

impl DeadMessage {
    /// The id that the letter is kept under, unless another body has it already.
    #[must_use]
    pub fn letter_id(&self) -> Uuid {
        Uuid::parse_str(&self.wire_id).unwrap_or_else(|_| self.derived_id())
    }

    /// The id for when the message's own cannot be used.
    #[must_use]
    pub fn derived_id(&self) -> Uuid {
        derived_id(&self.wire_id, &self.body)
    }
}

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waiting for an operator.
    Dead,
    /// Sent in again by the front door, outcome not known yet.
    Replaying,
    /// Handled in the end, or edited into a new message.
    Resolved,
    /// Given up by an operator, with a reason.
    Discarded,
}

impl State {
    /// The name used in tables and filters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Replaying => "replaying",
            Self::Resolved => "resolved",
            Self::Discarded => "discarded",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Dead, Self::Replaying, Self::Resolved, Self::Discarded].into_iter().find(|state| state.as_str() == name)
    }

    /// Whether a further death of the message still says something about the letter.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Dead | Self::Replaying)
    }
}

/// The id for a message that has none, an odd one, or one that another body already has: the same each time it is asked.
#[must_use]
pub fn derived_id(message_id: &str, body: &[u8]) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &[message_id.as_bytes(), body].concat())
}

/// Twelve hex digits that failures of one kind share: ids, numbers, quoted text and positions are cut out first.
#[must_use]
pub fn fingerprint(class: FailureClass, reason: &str) -> String {
    let digest = Sha256::digest(format!("{class}\n{}", outline(reason)));
    hex::encode(&digest[..6])
}

/// The reason without what differs from one letter to the next.
fn outline(reason: &str) -> String {
    let mut outline = String::with_capacity(reason.len());
    let mut rest = reason;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        // An apostrophe within a word opens no quotation.
        let quoted = if in_word { None } else { quotation(rest) };
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let length = match quoted {
            Some(length) => {
                outline.push('"');
                length
            }
            None if word > 0 => {
                let text = &rest[..word];
                outline.push_str(if text.contains(|c: char| c.is_ascii_digit()) { "#" } else { text });
                word
            }
            None => {
                outline.push(first);
                first.len_utf8()
            }
        };
        in_word = quoted.is_none() && word > 0;
        rest = &rest[length..];
    }
    outline
}

/// The length of the quoted text that `text` opens with, if it does.
fn quotation(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let closing = text[1..].find(quote)?;
    Some(closing + 2)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        fingerprint(FailureClass::Panicked, one) == fingerprint(FailureClass::Panicked, other)
    }

    #[test]
    fn the_same_failure_has_the_same_fingerprint() {
        assert!(same("expected value at line 1 column 5", "expected value at line 27 column 101"));
        assert!(same(
            "row f08fb010-878f-407a-9ac2-a7840fb56185 refused",
            "row 00000000-0000-4000-8000-000000000000 refused"
        ));
        assert!(same("value \"abc\" violates 'one'", "value \"x y z\" violates 'two words'"));
    }

    #[test]
    fn different_failures_differ() {
        assert!(!same("payload.id: missing", "payload.customer_id: missing"));
        assert!(!same("can't read, isn't there", "can't write, isn't there"));
        assert_ne!(fingerprint(FailureClass::Panicked, "x"), fingerprint(FailureClass::Unrouted, "x"));
    }

    #[test]
    fn an_open_quotation_is_read_to_its_end() {
        assert_eq!(outline("it's \"half open é"), "it's \"half open é");
    }

    #[test]
    fn a_derived_id_is_the_same_each_time_and_differs_by_body() {
        assert_eq!(derived_id("a", b"body"), derived_id("a", b"body"));
        assert_ne!(derived_id("a", b"body"), derived_id("a", b"other"));
    }
}
