//! The dead letter: its id, its state, and the fingerprint that equal failures share.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::failure::{Failure, FailureClass};
use super::timestamp::Timestamp;

/// A message from the dead queue, to be recorded as a dead letter.
#[derive(Clone, Debug)]
pub struct DeadMessage {
    /// The AMQP `message_id`, which may be empty or not a UUID.
    pub wire_id: String,
    /// The webhook's bytes.
    pub body: Bytes,
    /// The `x-source` header: which provider sent the webhook.
    pub source: String,
    /// When the ingress received the webhook.
    pub received_at: Timestamp,
    /// The number of the last attempt; the first one is 1.
    pub attempt: u32,
    /// The number of the replay that published the message; 0 if none did.
    pub replay: u32,
    /// The id of the dead letter that the message was edited from.
    pub edited_from: Option<String>,
    /// The W3C `traceparent` of the message.
    pub traceparent: Option<String>,
    /// Why the message died.
    pub failure: Failure,
    /// When the message died. Redeliveries of one death have the same time, so that it is recorded once.
    pub at: Timestamp,
}

impl DeadMessage {
    /// The ids that the message's letter may have: see [`letter_ids`].
    #[must_use]
    pub fn letter_ids(&self) -> Vec<Uuid> {
        letter_ids(&self.wire_id, &self.body, self.received_at)
    }
}

/// The ids that the letter of a message may have, in the order in which they are used:
///
/// 1. the message's own id, if it is a UUID;
/// 2. a UUID v5 of id and body, if that is not one, or if a letter with the first id has another body;
/// 3. a UUID v5 of id, body and time of receipt, if a letter of an earlier message with the same id and body has ended: other
///    programs may publish the same message again.
#[must_use]
pub fn letter_ids(message_id: &str, body: &[u8], received_at: Timestamp) -> Vec<Uuid> {
    let receipt = received_at.nanos().to_be_bytes();
    let with_receipt = Uuid::new_v5(&Uuid::NAMESPACE_OID, &[message_id.as_bytes(), body, &receipt].concat());
    let own_id = Uuid::parse_str(message_id).ok();
    own_id.into_iter().chain([derived_id(message_id, body), with_receipt]).collect()
}

/// The state of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for an operator.
    Dead,
    /// It was published to the work queue again, and its outcome is not known yet.
    Replaying,
    /// A replay of it was handled, or it was edited into a new message.
    Resolved,
    /// An operator discarded it and gave a reason.
    Discarded,
}

impl State {
    /// The state's name in tables and filters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Replaying => "replaying",
            Self::Resolved => "resolved",
            Self::Discarded => "discarded",
        }
    }

    /// The state with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Dead, Self::Replaying, Self::Resolved, Self::Discarded].into_iter().find(|state| state.as_str() == name)
    }

    /// Whether another death of the message changes the letter.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Dead | Self::Replaying)
    }
}

/// The id of the letter of a message whose own id is missing, not a UUID, or already used for another body: a UUID v5
/// of id and body, so that a redelivery gets the same one.
#[must_use]
pub fn derived_id(message_id: &str, body: &[u8]) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &[message_id.as_bytes(), body].concat())
}

/// Twelve hex digits, equal for equal failures. Words with digits and quoted texts in `reason` do not count.
#[must_use]
pub fn fingerprint(class: FailureClass, reason: &str) -> String {
    let digest = Sha256::digest(format!("{class}\n{}", normalized(reason)));
    hex::encode(&digest[..6])
}

/// Replaces each quoted text by `"` and each word with a digit by `#`.
fn normalized(reason: &str) -> String {
    let mut normalized = String::with_capacity(reason.len());
    let mut rest = reason;
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_')).unwrap_or(rest.len());
        // An apostrophe after a word ("can't") does not open a quotation.
        let quoted = if after_word { 0 } else { quoted_length(rest) };
        let (length, replacement) = match &rest[..word] {
            _ if quoted > 0 => (quoted, "\""),
            "" => (first.len_utf8(), &rest[..first.len_utf8()]),
            text if text.contains(|c: char| c.is_ascii_digit()) => (word, "#"),
            text => (word, text),
        };
        normalized.push_str(replacement);
        after_word = word > 0;
        rest = &rest[length..];
    }
    normalized
}

/// The length of the quotation at the start of `text`, quotes included; 0 if there is none, or if it is not closed.
fn quoted_length(text: &str) -> usize {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) else { return 0 };
    text[1..].find(quote).map_or(0, |closing| closing + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(one: &str, other: &str) -> bool {
        fingerprint(FailureClass::Panicked, one) == fingerprint(FailureClass::Panicked, other)
    }

    #[test]
    fn the_same_failure_has_the_same_fingerprint() {
        assert!(is_same("expected value at line 1 column 5", "expected value at line 27 column 101"));
        assert!(is_same("row f08fb010-878f-407a-9ac2-a7840fb56185", "row 00000000-0000-4000-8000-000000000000"));
        assert!(is_same("value \"abc\" violates 'one'", "value \"x y z\" violates 'two words'"));
    }

    #[test]
    fn different_failures_differ() {
        assert!(!is_same("payload.id: missing", "payload.customer_id: missing"));
        assert!(!is_same("can't read, isn't there", "can't write, isn't there"));
        assert_ne!(fingerprint(FailureClass::Panicked, "x"), fingerprint(FailureClass::Unrouted, "x"));
    }

    #[test]
    fn a_quotation_that_is_not_closed_is_kept() {
        assert_eq!(normalized("it's \"half open é"), "it's \"half open é");
    }

    #[test]
    fn the_ids_of_a_letter_are_stable_and_differ_by_body_and_receipt() {
        let at = |nanos| Timestamp::from_nanos(nanos).unwrap();
        assert_eq!(letter_ids("a", b"body", at(1)), letter_ids("a", b"body", at(1)));
        let [derived, with_receipt] = letter_ids("a", b"body", at(1))[..] else { panic!("no own id") };
        assert_eq!(derived, derived_id("a", b"body"));
        assert_eq!(letter_ids("a", b"body", at(2))[0], derived);
        assert!(!letter_ids("a", b"body", at(2)).contains(&with_receipt));
        assert!(!letter_ids("a", b"other", at(1)).contains(&derived));
        assert_eq!(letter_ids(&Uuid::nil().to_string(), b"", at(1))[0], Uuid::nil());
    }
}
