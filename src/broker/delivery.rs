//! A delivery of a message, why it is on the dead queue, and the rule for which deliveries make a batch.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::AMQPValue;

use super::headers::Headers;
use super::message::Message;
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::timestamp::Timestamp;

/// One delivery of a message; settled exactly once.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    properties: BasicProperties,
    pub(super) tag: u64,
    /// Whether RabbitMQ has delivered the message before without receiving an ack (`x-delivery-count` above 0).
    pub(super) is_redelivered: bool,
}

impl Delivery {
    /// Reads a delivery that has just arrived.
    pub(super) fn read(delivery: lapin::message::Delivery) -> Self {
        let count = Headers::of(&delivery.properties).number("x-delivery-count");
        let message = Message::read(&delivery.properties, Bytes::from(delivery.data), Timestamp::now());
        let (tag, is_redelivered) = (delivery.delivery_tag, count.is_some_and(|count| count > 0));
        Self { message, properties: delivery.properties, tag, is_redelivered }
    }

    /// Why the message is on the dead queue, for a delivery from there, as [`Death::read`] says.
    #[must_use]
    pub fn death(&self, work_queue: &str) -> Death {
        Death::read(&self.properties, work_queue)
    }
}

/// Why a message is on the dead queue: docs/CONTRACT.md#7-dead-letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Its class and reason.
    pub failure: Failure,
    /// When the message died, if its headers say so; the same each time the message is read.
    pub at: Option<Timestamp>,
}

impl Death {
    /// Reads the worker's headers, or else the broker's `x-death`. `work_queue` is where the message may have expired.
    #[must_use]
    pub fn read(properties: &BasicProperties, work_queue: &str) -> Self {
        let headers = Headers::of(properties);
        let failed_at = headers.text("x-failed-at").and_then(|time| Timestamp::parse(&time).ok());
        if let Some(class) = headers.text("x-failure-class").and_then(|name| FailureClass::parse(&name)) {
            let reason = headers.text("x-failure").unwrap_or_default();
            return Self { failure: Failure::new(class, reason), at: failed_at };
        }
        // RabbitMQ puts the latest death first.
        let death = headers.first_table("x-death");
        let text = |name| death.text(name).unwrap_or_default();
        let died_at = death.get("time").and_then(AMQPValue::as_timestamp).and_then(Timestamp::from_seconds);
        let published_at = || properties.timestamp().and_then(Timestamp::from_seconds);
        let failure = broker_failure(&text("reason"), &text("queue"), work_queue);
        Self { failure, at: failed_at.or(died_at).or_else(published_at) }
    }
}

/// The failure that RabbitMQ dead-lettered a message for, by the reason and the queue in `x-death`.
fn broker_failure(reason: &str, queue: &str, work_queue: &str) -> Failure {
    match reason {
        "delivery_limit" => Failure::new(
            FailureClass::DeliveryLimit,
            format!(
                "it was delivered too often from {queue} without an ack: the worker crashed or lost its connection"
            ),
        ),
        "expired" if queue == work_queue => Failure::new(FailureClass::Expired, format!("it expired on {queue}")),
        _ => Failure::new(FailureClass::Unrouted, "there was no queue to hold it"),
    }
}

/// Takes up to `limit` deliveries that are not repeated; if there are none, one repeated delivery alone, because its
/// message may have crashed a worker.
pub(super) fn take_batch(buffer: &mut Vec<Delivery>, limit: usize) -> Vec<Delivery> {
    let batch: Vec<Delivery> = buffer.extract_if(.., |delivery| !delivery.is_redelivered).take(limit).collect();
    if batch.is_empty() { buffer.drain(..buffer.len().min(1)).collect() } else { batch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::headers::table;

    fn delivery(tag: u64, count: i64) -> Delivery {
        let mut delivery = lapin::message::Delivery::mock(tag, "".into(), "".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_headers(table([("x-delivery-count", count.into())]));
        Delivery::read(delivery)
    }

    #[test]
    fn repeated_deliveries_are_handled_alone_and_after_the_others() {
        let mut buffer = [(1, 0), (2, 3), (3, 0), (4, 1), (5, 0)].map(|(tag, count)| delivery(tag, count)).to_vec();
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            batches.push(take_batch(&mut buffer, 2).iter().map(|delivery| delivery.tag).collect::<Vec<_>>());
        }
        assert!(take_batch(&mut buffer, 2).is_empty());
        assert_eq!(batches, [vec![1, 3], vec![5], vec![2], vec![4]]);
    }
}
