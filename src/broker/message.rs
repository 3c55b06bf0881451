//! The message: a webhook's bytes, untouched, and the headers that travel with them.
//!
//! Its id, when and from where it was received, and what it was edited from survive every hop; the rest is built afresh.
//! What somebody publishes by hand, with none of the headers or with odd ones, is a message just the same.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use super::Topology;
use super::topology::LEAN;
use crate::domain::dead_letter::derived_id;
use crate::domain::event;
use crate::domain::failure::Failure;
use crate::domain::retry::Delay;
use crate::domain::timestamp::Timestamp;
use crate::telemetry::valid_traceparent;

/// The longest reason that a header carries, in bytes.
const LONGEST_REASON: usize = 1024;
/// The longest header that is passed on, in bytes: longer ones are odd, and a copy with a few more headers has to fit a frame.
const LONGEST_TEXT: usize = 1024;
/// The most replays of one letter that make sense; whoever counts on must not meet the end of the numbers.
const MAX_REPLAYS: u32 = 1_000_000;
const PERSISTENT: u8 = 2;

/// A webhook on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Survives retries and replays: a UUID v7, or whatever somebody published by hand.
    pub id: String,
    /// Who sent it: `lean`, or nobody known.
    pub source: Option<String>,
    /// When it was received.
    pub received_at: Timestamp,
    /// 1 on the first delivery, one more on each retry.
    pub attempt: u32,
    /// Which replay of a dead letter this is.
    pub replay: Option<u32>,
    /// The message that an operator edited into this one.
    pub edited_from: Option<String>,
    /// The trace it belongs to (W3C Trace Context).
    pub traceparent: Option<String>,
    /// What was posted, byte for byte.
    pub body: Bytes,
}

impl Message {
    /// A webhook that Lean has just posted.
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

    /// Reads a message off the broker. Odd headers count as absent; without a time it was received at `now`.
    #[must_use]
    pub fn read(properties: &BasicProperties, body: Bytes, now: Timestamp) -> Self {
        let headers = Headers(properties.headers().as_ref());
        let id = properties.message_id().as_ref().map(ToString::to_string).filter(|id| !id.is_empty());
        let received_at = headers
            .text("x-received-at")
            .and_then(|time| Timestamp::parse(&time))
            .or_else(|| properties.timestamp().and_then(Timestamp::from_seconds))
            .unwrap_or(now);
        Self {
            id: id.unwrap_or_else(|| derived_id("", &body).to_string()),
            source: headers.text("x-source").filter(|source| source.len() <= LONGEST_TEXT),
            received_at,
            attempt: headers.number("x-attempt").unwrap_or(1).max(1),
            replay: headers.number("x-replay").filter(|replay| (1..=MAX_REPLAYS).contains(replay)),
            edited_from: headers.text("x-edited-from").filter(|id| id.len() <= LONGEST_TEXT),
            traceparent: headers.text("traceparent").filter(|header| valid_traceparent(header).is_some()),
            body,
        }
    }

    fn headers(&self) -> FieldTable {
        let mut headers = FieldTable::default();
        let texts = [
            ("x-source", self.source.clone()),
            ("x-received-at", Some(self.received_at.rfc3339_nanos())),
            ("x-edited-from", self.edited_from.clone()),
            ("traceparent", self.traceparent.clone()),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                headers.insert(name.into(), text(value));
            }
        }
        for (name, value) in [("x-attempt", Some(self.attempt)), ("x-replay", self.replay)] {
            if let Some(value) = value {
                headers.insert(name.into(), AMQPValue::LongLongInt(value.into()));
            }
        }
        headers
    }
}

/// A message, where it goes, and nothing left to decide.
#[derive(Clone)]
pub struct Outgoing {
    pub(super) id: String,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

impl Outgoing {
    /// To the work queue, by the front door: a fresh webhook, or a replay.
    #[must_use]
    pub fn webhook(topology: &Topology, message: &Message) -> Self {
        Self::copy(message, message.headers(), topology.webhooks(), LEAN.to_owned())
    }

    /// To a retry tier, one attempt further.
    #[must_use]
    pub fn retry(topology: &Topology, message: &Message, delay: Delay) -> Self {
        let next = Message { attempt: message.attempt.saturating_add(1), ..message.clone() };
        Self::copy(message, next.headers(), topology.retry(), delay.to_string())
    }

    /// To a retry tier, with no attempt spent.
    #[must_use]
    pub fn deferred(topology: &Topology, message: &Message, delay: Delay) -> Self {
        Self::copy(message, message.headers(), topology.retry(), delay.to_string())
    }

    /// To the dead queue, with why.
    #[must_use]
    pub fn dead(topology: &Topology, message: &Message, failure: &Failure, failed_at: Timestamp) -> Self {
        let mut headers = message.headers();
        headers.insert("x-failure-class".into(), text(failure.class.as_str()));
        headers.insert("x-failure".into(), text(cut(&failure.reason, LONGEST_REASON)));
        headers.insert("x-failed-at".into(), text(failed_at.rfc3339_nanos()));
        Self::copy(message, headers, topology.dead(), LEAN.to_owned())
    }

    /// An event, to whoever has bound a queue for its type.
    #[must_use]
    pub fn event(
        topology: &Topology,
        id: Uuid,
        event_type: &str,
        routing_key: &str,
        traceparent: Option<&str>,
        json: String,
    ) -> Self {
        let mut headers = FieldTable::default();
        if let Some(traceparent) = traceparent {
            headers.insert("traceparent".into(), text(traceparent));
        }
        let properties =
            properties(&id.to_string(), event::CONTENT_TYPE, headers).with_type(cut(event_type, 255).into());
        Self {
            id: id.to_string(),
            exchange: topology.events(),
            routing_key: cut(routing_key, 255).to_owned(),
            properties,
            body: json.into(),
        }
    }

    /// What goes with the body.
    #[must_use]
    pub fn properties(&self) -> &BasicProperties {
        &self.properties
    }

    fn copy(message: &Message, headers: FieldTable, exchange: String, routing_key: String) -> Self {
        let properties = properties(&message.id, "application/json", headers);
        Self { id: message.id.clone(), exchange, routing_key, properties, body: message.body.clone() }
    }
}

fn properties(id: &str, content_type: &str, headers: FieldTable) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(id.into())
        .with_timestamp(Timestamp::now().seconds())
        .with_content_type(content_type.into())
        .with_app_id("banklink".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers)
}

/// Headers as other people may have set them.
pub(super) struct Headers<'a>(pub(super) Option<&'a FieldTable>);

impl Headers<'_> {
    pub(super) fn get(&self, name: &str) -> Option<&AMQPValue> {
        self.0?.inner().get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
            AMQPValue::ShortString(text) => Some(text.to_string()),
            _ => None,
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let number: i64 = match self.get(name)? {
            AMQPValue::ShortShortInt(number) => (*number).into(),
            AMQPValue::ShortShortUInt(number) => (*number).into(),
            AMQPValue::ShortInt(number) => (*number).into(),
            AMQPValue::ShortUInt(number) => (*number).into(),
            AMQPValue::LongInt(number) => (*number).into(),
            AMQPValue::LongUInt(number) => (*number).into(),
            AMQPValue::LongLongInt(number) => *number,
            _ => self.text(name)?.parse().ok()?,
        };
        u32::try_from(number).ok()
    }
}

/// The longest beginning of `text` that fits into `bytes` and breaks no character.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn text(value: impl AsRef<str>) -> AMQPValue {
    AMQPValue::LongString(value.as_ref().into())
}
