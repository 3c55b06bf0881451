//! A message ready to be published: exchange, routing key, properties and body.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::FieldTable;
use uuid::Uuid;

use super::headers::{table, text};
use super::message::Message;
use super::topology::{LEAN, Topology};
use crate::domain::event;
use crate::domain::failure::Failure;
use crate::domain::retry::Delay;
use crate::domain::timestamp::Timestamp;

/// Maximum length of the reason in `x-failure`, in bytes.
const MAX_REASON_BYTES: usize = 1024;
/// Maximum length of a routing key and of a property that is a short string, in bytes (AMQP 0-9-1, 4.2.5.3).
const MAX_SHORT_STRING_BYTES: usize = 255;
/// AMQP's `delivery-mode` of messages that survive a restart of the broker.
const PERSISTENT: u8 = 2;

/// A message, and where it is published.
#[derive(Clone)]
pub struct Outgoing {
    pub(super) id: String,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

impl Outgoing {
    /// To the work queue: a fresh webhook or a replay.
    #[must_use]
    pub fn webhook(topology: &Topology, message: &Message) -> Self {
        Self::copy(message, message.headers(), topology.webhooks(), LEAN.to_owned())
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
        Self::copy(message, message.headers(), topology.retry(), delay.to_string())
    }

    /// To the dead queue, with the failure. The reason is cut to 1 KiB.
    #[must_use]
    pub fn dead(topology: &Topology, message: &Message, failure: &Failure, failed_at: Timestamp) -> Self {
        let mut headers = message.headers();
        headers.insert("x-failure-class".into(), text(failure.class.as_str()));
        headers.insert("x-failure".into(), text(cut(&failure.reason, MAX_REASON_BYTES)));
        headers.insert("x-failed-at".into(), text(failed_at.rfc3339_nanos()));
        Self::copy(message, headers, topology.dead(), LEAN.to_owned())
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
        let properties = properties(&id, event::CONTENT_TYPE, headers).with_type(event_type.into());
        let routing_key = cut(routing_key, MAX_SHORT_STRING_BYTES).to_owned();
        Self { id, exchange: topology.events(), routing_key, properties, body: json.into() }
    }

    /// The message's properties, headers included.
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

/// The longest prefix of `text` that is at most `max_bytes` long and ends at a character boundary.
fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}
