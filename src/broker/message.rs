//! A message: a webhook's body, byte for byte, and the properties that travel with it; and where messages are published.
//!
//! Retry copies and replays keep the id, the time of receipt, the source and the message it was edited from; every
//! other property is built anew. Messages of other publishers are valid without these headers or with invalid ones.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use super::headers::{Headers, table, text};
use super::topology::{Topology, WEBHOOK_KEY};
use crate::domain::dead_letter::derived_id;
use crate::domain::event;
use crate::domain::failure::Failure;
use crate::domain::rehearsal::RehearsedEvent;
use crate::domain::retry::Delay;
use crate::domain::timestamp::Timestamp;
use crate::telemetry::valid_traceparent;

/// Maximum length of a header that is passed on, in bytes. A longer one counts as absent, because a copy, which has
/// more headers than the original, must fit into a frame.
const MAX_HEADER_BYTES: usize = 1024;
/// A greater replay number counts as absent, so that numbers counted up from it cannot overflow.
const MAX_REPLAY: u32 = 1_000_000;
/// The `x-source` of what the ingress receives.
const SOURCE: &str = "lean";
/// Maximum length of the reason in `x-failure`, in bytes.
const MAX_REASON_BYTES: usize = 1024;
/// Maximum length of a routing key and of a property that is a short string, in bytes (AMQP 0-9-1, 4.2.5.3).
const MAX_SHORT_STRING_BYTES: usize = 255;
/// AMQP's `delivery-mode` of messages that survive a restart of the broker.
const PERSISTENT: u8 = 2;

/// A webhook on the broker. Its headers: docs/CONTRACT.md#5-on-the-broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same through retries and replays: a UUID v7, or whatever id its publisher chose.
    pub id: String,
    /// Which provider sent the webhook: `lean`, or unknown.
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
            source: Some(SOURCE.to_owned()),
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
            .and_then(|time| Timestamp::parse(&time).ok())
            .or_else(|| properties.timestamp().and_then(Timestamp::from_seconds))
            .unwrap_or(now);
        Self {
            id: id.unwrap_or_else(|| derived_id("", &body).to_string()),
            source: short_text("x-source"),
            received_at,
            attempt: headers.number("x-attempt").unwrap_or(1).max(1),
            replay: headers.number("x-replay").filter(|replay| (1..=MAX_REPLAY).contains(replay)),
            edited_from: short_text("x-edited-from"),
            traceparent: headers.text("traceparent").and_then(|header| valid_traceparent(&header)),
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

/// A message ready to be published, and where.
#[derive(Clone)]
pub struct Outgoing {
    pub(super) id: String,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    /// Boxed, because they are large, and an outgoing message is moved often.
    pub(super) properties: Box<BasicProperties>,
    pub(super) body: Bytes,
}

impl Outgoing {
    /// To the work queue: a fresh webhook or a replay.
    #[must_use]
    pub fn webhook(topology: &Topology, message: &Message) -> Self {
        Self::build(message, message.headers(), topology.webhooks(), WEBHOOK_KEY.to_owned())
    }

    /// To the retry tier of `delay`, as the next attempt.
    #[must_use]
    pub fn retry(topology: &Topology, message: &Message, delay: Delay) -> Self {
        let next = Message { attempt: message.attempt.saturating_add(1), ..message.clone() };
        Self::deferred(topology, &next, delay)
    }

    /// To the retry tier of `delay`, as the same attempt.
    #[must_use]
    pub fn deferred(topology: &Topology, message: &Message, delay: Delay) -> Self {
        Self::build(message, message.headers(), topology.retry(), delay.to_string())
    }

    /// To the dead queue, with the failure. The reason is cut to 1 KiB.
    #[must_use]
    pub fn dead(topology: &Topology, message: &Message, failure: &Failure, failed_at: Timestamp) -> Self {
        let mut headers = message.headers();
        headers.insert("x-failure-class".into(), text(failure.class.as_str()));
        headers.insert("x-failure".into(), text(cut(&failure.reason, MAX_REASON_BYTES)));
        headers.insert("x-failed-at".into(), text(failed_at.rfc3339_nanos()));
        Self::build(message, headers, topology.dead(), WEBHOOK_KEY.to_owned())
    }

    /// An event, to the queues that subscribers have bound. `json` is the CloudEvent.
    #[must_use]
    pub fn event(
        topology: &Topology,
        id: Uuid,
        event_type: &str,
        routing_key: &str,
        traceparent: Option<&str>,
        json: String,
    ) -> Self {
        let headers = table(traceparent.map(|traceparent| ("traceparent", text(traceparent))));
        let (id, event_type) = (id.to_string(), cut(event_type, MAX_SHORT_STRING_BYTES));
        let properties = Box::new(properties(&id, event::CONTENT_TYPE, headers).with_type(event_type.into()));
        let routing_key = cut(routing_key, MAX_SHORT_STRING_BYTES).to_owned();
        Self { id, exchange: topology.events(), routing_key, properties, body: json.into() }
    }

    /// A made-up event of the rehearsal `rehearsal`, straight to `queue`.
    pub(super) fn rehearsal(queue: &str, rehearsal: &str, event: &RehearsedEvent) -> Self {
        let (id, headers) = (event.id.to_string(), table([("x-rehearsal", text(rehearsal))]));
        let properties = Box::new(properties(&id, event::CONTENT_TYPE, headers).with_type(event.event_type.into()));
        // The default exchange routes by the queue's name.
        Self { id, exchange: String::new(), routing_key: queue.to_owned(), properties, body: event.json.clone().into() }
    }

    /// The message's properties, headers included.
    #[must_use]
    pub fn properties(&self) -> &BasicProperties {
        &self.properties
    }

    fn build(message: &Message, headers: FieldTable, exchange: String, routing_key: String) -> Self {
        let properties = Box::new(properties(&message.id, "application/json", headers));
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

/// The longest prefix of `text` that is at most `max_bytes` long and ends at a character boundary.
fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}
