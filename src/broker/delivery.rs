//! A delivery of a message, and the rule for which deliveries make a batch.

use bytes::Bytes;
use lapin::BasicProperties;

use super::death::Death;
use super::headers::Headers;
use super::message::Message;
use crate::domain::timestamp::Timestamp;

/// One delivery of a message; settled exactly once.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    properties: BasicProperties,
    pub(super) tag: u64,
    /// Whether RabbitMQ has delivered the message before without receiving an ack (`x-delivery-count` above 0).
    pub(super) is_repeated: bool,
}

impl Delivery {
    /// Reads a delivery that has just arrived.
    pub(super) fn read(delivery: lapin::message::Delivery) -> Self {
        let count = Headers::of(&delivery.properties).number("x-delivery-count");
        let message = Message::read(&delivery.properties, Bytes::from(delivery.data), Timestamp::now());
        let (tag, is_repeated) = (delivery.delivery_tag, count.is_some_and(|count| count > 0));
        Self { message, properties: delivery.properties, tag, is_repeated }
    }

    /// Why the message is on the dead queue, for a delivery from there. `work_queue` is the queue that it may have
    /// expired on.
    #[must_use]
    pub fn death(&self, work_queue: &str) -> Death {
        Death::read(&self.properties, work_queue)
    }
}

/// Takes up to `limit` deliveries that are not repeated; if there are none, one repeated delivery alone, because its
/// message may have crashed a worker.
pub(super) fn take_batch(buffer: &mut Vec<Delivery>, limit: usize) -> Vec<Delivery> {
    let batch: Vec<Delivery> = buffer.extract_if(.., |delivery| !delivery.is_repeated).take(limit).collect();
    if batch.is_empty() { buffer.drain(..buffer.len().min(1)).collect() } else { batch }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn delivery(tag: u64, count: i64) -> Delivery {
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), count.into());
        let mut delivery = lapin::message::Delivery::mock(tag, "".into(), "".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_headers(headers);
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
