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
    pub(super) routing_key: String,
    /// The number of the consumer's channel that it arrived on. A tag means something on that channel only.
    pub(super) channel: u32,
    /// Whether RabbitMQ has delivered the message before without receiving an ack (`x-delivery-count` above 0).
    pub(super) is_redelivered: bool,
}

impl Delivery {
    /// Reads a delivery that has just arrived on the channel with this number.
    pub(super) fn read(delivery: lapin::message::Delivery, channel: u32) -> Self {
        let count = Headers::of(&delivery.properties).number::<u32>("x-delivery-count");
        let message = Message::read(&delivery.properties, Bytes::from(delivery.data), Timestamp::now());
        let (tag, is_redelivered) = (delivery.delivery_tag, count.is_some_and(|count| count > 0));
        let routing_key = String::from(delivery.routing_key);
        Self { message, properties: delivery.properties, tag, routing_key, channel, is_redelivered }
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

/// Maximum total size of the bodies in a batch of several deliveries, which bounds what a batch takes of memory: its texts are
/// copied into statements, and its bodies into copies.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Whether these are at least as many deliveries as [`take_batch`] takes, if none is repeated.
pub(super) fn is_full_batch(buffer: &[Delivery], limit: usize) -> bool {
    let bytes: usize = buffer.iter().map(|delivery| delivery.message.body.len()).sum();
    buffer.len() >= limit || bytes > MAX_BATCH_BYTES
}

/// Takes up to `limit` deliveries that are not repeated, and of several no more than [`MAX_BATCH_BYTES`]; if there are none, one
/// repeated delivery alone, because its message may have crashed a worker.
///
/// They are taken in the order in which RabbitMQ delivered them, so that one ack covers a batch and those before it. Several consumers
/// on a channel yield theirs in turn.
pub(super) fn take_batch(buffer: &mut Vec<Delivery>, limit: usize) -> Vec<Delivery> {
    buffer.sort_by_key(|delivery| delivery.tag);
    let (mut taken, mut bytes) = (0, 0);
    let fits = |delivery: &mut Delivery| {
        let next = bytes + delivery.message.body.len();
        let is_taken = !delivery.is_redelivered && taken < limit && (taken == 0 || next <= MAX_BATCH_BYTES);
        if is_taken {
            (taken, bytes) = (taken + 1, next);
        }
        is_taken
    };
    let batch: Vec<Delivery> = buffer.extract_if(.., fits).collect();
    if batch.is_empty() { buffer.drain(..buffer.len().min(1)).collect() } else { batch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::ack_tracker::AckTracker;
    use crate::broker::headers::table;

    fn delivery(tag: u64, count: i64) -> Delivery {
        large_delivery(tag, count, 0)
    }

    fn large_delivery(tag: u64, count: i64, bytes: usize) -> Delivery {
        let mut delivery = lapin::message::Delivery::mock(tag, "".into(), "".into(), false, vec![b'x'; bytes]);
        delivery.properties = BasicProperties::default().with_headers(table([("x-delivery-count", count.into())]));
        Delivery::read(delivery, 1)
    }

    #[test]
    fn a_batch_is_bounded_in_bytes_but_never_empty() {
        let half = MAX_BATCH_BYTES / 2;
        let sizes = [half, half, 1, 2 * MAX_BATCH_BYTES, half];
        let mut buffer: Vec<_> = (1..).zip(sizes).map(|(tag, bytes)| large_delivery(tag, 0, bytes)).collect();
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            batches.push(take_batch(&mut buffer, 100).iter().map(|delivery| delivery.tag).collect::<Vec<_>>());
        }
        assert_eq!(batches, [vec![1, 2], vec![3, 5], vec![4]]);
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

    /// Several consumers on a channel yield their deliveries in turn.
    #[test]
    fn one_ack_covers_each_batch_however_the_deliveries_of_several_consumers_are_mixed() {
        let mut buffer = [1, 4, 8, 2, 5, 9, 3, 6, 7].map(|tag| delivery(tag, 0)).to_vec();
        let mut acks = AckTracker::default();
        while !buffer.is_empty() {
            let tags: Vec<u64> = take_batch(&mut buffer, 3).iter().map(|delivery| delivery.tag).collect();
            assert_eq!(acks.acknowledge(&tags), [(tags[2], true)]);
        }
    }
}
