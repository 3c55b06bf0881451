//! Letters as JSON, with the table's column names as keys: for commands and for exports.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::store::letters::{HistoryEntry, Letter, state_now};
use crate::times::time;

/// The letter's state now.
#[must_use]
pub fn state_name(letter: &Letter) -> &str {
    state_now(letter).map_or(letter.state.as_str(), |state| state.as_str())
}

/// The letter without its body.
#[must_use]
pub fn letter_object(letter: &Letter) -> Value {
    json!({
        "message_id": letter.message_id,
        "source": letter.source,
        "event_type": letter.event_type,
        "entity_id": letter.entity_id,
        "failure_class": letter.failure_class,
        "failure": letter.failure,
        "fingerprint": letter.fingerprint,
        "attempts": letter.attempts,
        "received_at": time(letter.received_at),
        "first_died_at": time(letter.first_died_at),
        "last_died_at": time(letter.last_died_at),
        "deaths": letter.deaths,
        "state": state_name(letter),
        "outcome": letter.outcome,
        "replays": letter.replays,
        "replayed_at": letter.replayed_at.map(time),
        "replayed_by": letter.replayed_by,
        "resolved_at": letter.resolved_at.map(time),
        "note": letter.note,
    })
}

/// The letter with its body in base64.
#[must_use]
pub fn letter_object_with_body(letter: &Letter) -> Value {
    let mut object = letter_object(letter);
    object["body"] = BASE64_STANDARD.encode(&letter.body).into();
    object
}

/// An entry of a letter's history.
#[must_use]
pub fn entry_object(entry: &HistoryEntry) -> Value {
    json!({ "at": time(entry.at), "by": entry.by, "action": entry.action, "detail": entry.detail })
}
