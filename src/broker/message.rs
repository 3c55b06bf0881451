//! A message: a webhook's body, byte for byte, and the properties that travel with it.
//!
//! Retry copies and replays keep the id, the time of receipt, the source and the message it was edited from; every
//! other property is built anew. A message that others published, without these headers or with invalid ones, is valid
//! too.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use super::headers::{Headers, table, text};
use super::topology::LEAN;
use crate::domain::dead_letter::derived_id;
use crate::domain::timestamp::Timestamp;
use crate::telemetry::valid_traceparent;

/// Maximum length of a header that is passed on, in bytes. A longer one counts as absent, because a copy, which has
/// more headers than the original, must fit into a frame.
const MAX_HEADER_BYTES: usize = 1024;
/// A greater replay number counts as absent, so that numbers counted up from it cannot overflow.
const MAX_REPLAY: u32 = 1_000_000;

/// A webhook on the broker. Its headers: docs/CONTRACT.md#5-on-the-broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same through retries and replays: a UUID v7, or whatever id its publisher chose.
    pub id: String,
    /// Who published it first: `lean`, or unknown.
    pub source: Option<String>,
    /// When it was received.
    pub received_at: Timestamp,
    /// 1 on the first delivery, one more on each retry.
    pub attempt: u32,
    /// The replay number, if this is a replayed dead letter.
    pub replay: Option<u32>,
    /// The id of the message that an operator edited to make this one.
    pub edited_from: Option<String>,
    /// The trace that it belongs to (W3C Trace Context).
    pub traceparent: Option<String>,
    /// The posted body, byte for byte.
    pub body: Bytes,
}

impl Message {
    /// A webhook that Lean has just posted, with a new id.
    #[must_use]
    pub fn received(body: Bytes, received_at: Timestamp, traceparent: Option<String>) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            source: Some(LEAN.to_owned()),
            received_at,
            attempt: 1,
            replay: None,
            edited_from: None,
            traceparent,
            body,
        }
    }

    /// Reads a message from the broker. Invalid headers count as absent; without any time it was received at `now`, and
    /// without an id it gets one derived from the body.
    #[must_use]
    pub fn read(properties: &BasicProperties, body: Bytes, now: Timestamp) -> Self {
        let headers = Headers::of(properties);
        let short_text = |name| headers.text(name).filter(|text| text.len() <= MAX_HEADER_BYTES);
        let id = properties.message_id().as_ref().map(ToString::to_string).filter(|id| !id.is_empty());
        let received_at = headers
            .text("x-received-at")
            .and_then(|time| Timestamp::parse(&time))
            .or_else(|| properties.timestamp().and_then(Timestamp::from_seconds))
            .unwrap_or(now);
        Self {
            id: id.unwrap_or_else(|| derived_id("", &body).to_string()),
            source: short_text("x-source"),
            received_at,
            attempt: headers.number("x-attempt").unwrap_or(1).max(1),
            replay: headers.number("x-replay").filter(|replay| (1..=MAX_REPLAY).contains(replay)),
            edited_from: short_text("x-edited-from"),
            traceparent: headers.text("traceparent").filter(|header| valid_traceparent(header).is_some()),
            body,
        }
    }

    /// The headers that [`Message::read`] reads this message from.
    pub(super) fn headers(&self) -> FieldTable {
        let number = |number: u32| AMQPValue::LongLongInt(number.into());
        let headers = [
            ("x-source", self.source.as_ref().map(text)),
            ("x-received-at", Some(text(self.received_at.rfc3339_nanos()))),
            ("x-attempt", Some(number(self.attempt))),
            ("x-replay", self.replay.map(number)),
            ("x-edited-from", self.edited_from.as_ref().map(text)),
            ("traceparent", self.traceparent.as_ref().map(text)),
        ];
        table(headers.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}
