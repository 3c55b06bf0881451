//! How letters are shown: as JSON with the table's names, or as a few columns that fit a terminal.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::store::dead_letters::{HistoryEntry, Letter, state_now};

/// The letter's state now.
pub(super) fn state(letter: &Letter) -> &str {
    state_now(letter).map_or(letter.state.as_str(), |state| state.as_str())
}

/// The letter under the table's names, without its body.
pub(super) fn object(letter: &Letter) -> Map<String, Value> {
    let json = json!({
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
        "state": state(letter),
        "outcome": letter.outcome,
        "replays": letter.replays,
        "replayed_at": letter.replayed_at.map(time),
        "replayed_by": letter.replayed_by,
        "resolved_at": letter.resolved_at.map(time),
        "note": letter.note,
    });
    match json {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The letter with its body, byte for byte, in base64.
pub(super) fn object_with_body(letter: &Letter) -> Value {
    let mut object = object(letter);
    let body = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &letter.body);
    object.insert("body".to_owned(), body.into());
    Value::Object(object)
}

/// A line of history as JSON.
pub(super) fn entry(entry: &HistoryEntry) -> Value {
    json!({ "at": time(entry.at), "by": entry.by, "action": entry.action, "detail": entry.detail })
}

/// RFC 3339 with microseconds.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// How long ago, in its largest unit: `5s`, `12m`, `3h`, `20d`.
pub(super) fn age(time: DateTime<Utc>) -> String {
    let seconds = (Utc::now() - time).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
