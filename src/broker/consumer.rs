//! Consumes a queue: returns the deliveries that are ready, up to a batch, and acknowledges cumulatively.
//!
//! A crash of the worker adds one to the delivery count of every prefetched message, so with a full prefetch a message
//! that crashes the worker every time would bring all of them to the delivery limit. Hence the prefetch is 1 until a first
//! delivery is settled, and again as soon as a redelivered message arrives.
//!
//! RabbitMQ may deliver a message just after it has confirmed a cancel (compare
//! <https://github.com/rabbitmq/rabbitmq-server/issues/3729>), and lapin 4.12.3 silently drops a delivery for a
//! consumer that it no longer knows (`src/consumers.rs`). Only closing the channel makes RabbitMQ deliver it again. So a
//! higher prefetch is a second consumer, and a lower one takes a new channel. One consumer that is cancelled and started
//! again would do once lapin passes on such deliveries.

use std::pin::Pin;

use futures_util::stream::{SelectAll, once};
use futures_util::{FutureExt, Stream, StreamExt};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use tracing::debug;

use super::ack_tracker::AckTracker;
use super::connection::Connection;
use super::delivery::{Delivery, take_batch};
use super::error::{Error, within};

/// What arrives from one consumer: a delivery, an error, or `None` at its end. `SelectAll` drops a stream that has ended without
/// a word; but when RabbitMQ 4.3 and later cancel one of two consumers, for example at the consumer timeout, the channel stays
/// open, and the other one goes on with its own prefetch only.
type Received = Option<lapin::Result<lapin::message::Delivery>>;

/// A consumer on one queue, with a channel of its own. Dropping it returns its unacknowledged deliveries to the queue.
pub struct Consumer {
    connection: Connection,
    queue: String,
    max_prefetch: u16,
    channel: Channel,
    /// The deliveries of every consumer on the channel: one, or two for a full prefetch.
    streams: SelectAll<Pin<Box<dyn Stream<Item = Received> + Send + Sync>>>,
    consumer_tags: Vec<ShortString>,
    has_full_prefetch: bool,
    wants_full_prefetch: bool,
    /// Received, but in no batch yet; in order of arrival.
    buffer: Vec<Delivery>,
    acks: AckTracker,
}

impl Consumer {
    /// Starts to consume `queue`, with a prefetch of 1 at first and `max_prefetch` later.
    ///
    /// # Errors
    /// Those of [opening a channel](Error).
    pub async fn open(connection: &Connection, queue: &str, max_prefetch: u16) -> Result<Self, Error> {
        let mut consumer = Self {
            connection: connection.clone(),
            queue: queue.to_owned(),
            max_prefetch,
            channel: connection.channel().await?,
            streams: SelectAll::new(),
            consumer_tags: Vec::new(),
            has_full_prefetch: false,
            wants_full_prefetch: false,
            buffer: Vec::new(),
            acks: AckTracker::default(),
        };
        consumer.start_consumer(1).await?;
        Ok(consumer)
    }

    /// Waits for a delivery and returns it with those that are ready, up to `limit`. Messages that were delivered
    /// before come alone, after the others. May be cancelled: at worst the channel is lost.
    ///
    /// # Errors
    /// [`Error::ConsumerEnded`] when RabbitMQ cancelled the consumer, for example because the queue was deleted. Any
    /// other error when the channel or the connection is lost.
    pub async fn next_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        self.adjust_prefetch().await?;
        if self.buffer.is_empty() {
            let first = self.streams.next().await;
            self.receive(first.flatten())?;
        }
        while self.buffer.len() < limit {
            match self.streams.next().now_or_never() {
                Some(Some(received)) => self.receive(received)?,
                _ => break,
            }
        }
        Ok(take_batch(&mut self.buffer, limit))
    }

    /// Cancels the consumer, and returns what it has already received: one batch per call, until an empty one.
    ///
    /// # Errors
    /// [`Error::TimedOut`] or [`Error::Amqp`] when the channel is lost.
    pub async fn last_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        self.cancel_consumers().await?;
        Ok(take_batch(&mut self.buffer, limit))
    }

    /// Acknowledges exactly these deliveries.
    ///
    /// # Errors
    /// [`Error::TimedOut`] or [`Error::Amqp`] when the channel is lost.
    pub async fn ack(&mut self, deliveries: impl IntoIterator<Item = &Delivery>) -> Result<(), Error> {
        let deliveries: Vec<&Delivery> = deliveries.into_iter().collect();
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
        self.handled(deliveries);
        for (tag, multiple) in self.acks.acknowledge(&tags) {
            let sent = self.channel.basic_ack(tag, BasicAckOptions { multiple });
            within(self.connection.deadline, sent).await?;
        }
        Ok(())
    }

    /// Notes that these deliveries were handled without a crash, so that the prefetch may rise. [`Consumer::ack`] notes it too.
    pub fn handled<'a>(&mut self, deliveries: impl IntoIterator<Item = &'a Delivery>) {
        let any_not_repeated = deliveries.into_iter().any(|delivery| !delivery.is_redelivered);
        if self.buffer.is_empty() && any_not_repeated {
            self.wants_full_prefetch = true;
        }
    }

    /// Whether the channel is open. Without it no ack can reach RabbitMQ.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.channel.status().connected()
    }

    /// Closes the channel; RabbitMQ returns unacknowledged messages to the queue.
    pub async fn close(self) {
        if let Err(error) = within(self.connection.deadline, self.channel.close(200, "done".into())).await {
            debug!(queue = self.queue, %error, "the channel was already closed");
        }
    }

    /// Raises the prefetch with a second consumer; lowers it on a new channel, once every delivery is handed out.
    async fn adjust_prefetch(&mut self) -> Result<(), Error> {
        if self.wants_full_prefetch && !self.has_full_prefetch && self.max_prefetch > 1 {
            self.start_consumer(self.max_prefetch - 1).await?;
            self.has_full_prefetch = true;
        } else if self.has_full_prefetch && !self.wants_full_prefetch {
            self.cancel_consumers().await?;
            if self.buffer.is_empty() {
                let closed = self.channel.close(200, "lowering the prefetch".into());
                within(self.connection.deadline, closed).await?;
                *self = Self::open(&self.connection, &self.queue, self.max_prefetch).await?;
            }
        }
        Ok(())
    }

    /// Starts a consumer on the channel. RabbitMQ applies `basic.qos` to consumers that start after it.
    async fn start_consumer(&mut self, prefetch: u16) -> Result<(), Error> {
        debug!(queue = self.queue, prefetch, "consuming");
        let (deadline, channel) = (self.connection.deadline, &self.channel);
        within(deadline, channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let (queue, options) = (self.queue.as_str().into(), BasicConsumeOptions::default());
        let consumer =
            within(deadline, channel.basic_consume(queue, "".into(), options, FieldTable::default())).await?;
        self.consumer_tags.push(consumer.tag());
        self.streams.push(Box::pin(until_end(consumer)));
        Ok(())
    }

    /// Cancels the consumers and buffers what they have received.
    async fn cancel_consumers(&mut self) -> Result<(), Error> {
        for tag in std::mem::take(&mut self.consumer_tags) {
            let cancelled = self.channel.basic_cancel(tag, BasicCancelOptions::default());
            within(self.connection.deadline, cancelled).await?;
        }
        while let Some(Some(received)) = self.streams.next().now_or_never() {
            // A cancelled consumer ends.
            if received.is_some() {
                self.receive(received)?;
            }
        }
        Ok(())
    }

    /// Buffers a delivery. `None` is the end of the stream.
    fn receive(&mut self, delivery: Received) -> Result<(), Error> {
        let delivery = Delivery::read(delivery.ok_or_else(|| Error::ConsumerEnded(self.queue.clone()))??);
        if delivery.is_redelivered {
            self.wants_full_prefetch = false;
        }
        self.buffer.push(delivery);
        Ok(())
    }
}

/// The items of `stream`, and `None` at its end.
fn until_end<S: Stream>(stream: S) -> impl Stream<Item = Option<S::Item>> {
    stream.map(Some).chain(once(std::future::ready(None)))
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{iter, pending};

    use super::*;

    #[test]
    fn the_end_of_one_of_two_streams_is_reported_although_the_other_goes_on() {
        let mut streams = SelectAll::new();
        streams.push(until_end(iter([1, 2])).boxed());
        streams.push(until_end(pending()).boxed());
        let received: Vec<_> = std::iter::from_fn(|| streams.next().now_or_never()).collect();
        assert_eq!(received, [Some(Some(1)), Some(Some(2)), Some(None)]);
    }
}
