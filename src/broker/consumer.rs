//! Consumes a queue: returns the deliveries that are ready, up to a batch, and acknowledges cumulatively.
//!
//! The prefetch changes while it consumes: `prefetch.rs`.
//!
//! RabbitMQ may deliver a message just after it has confirmed a cancel (compare
//! <https://github.com/rabbitmq/rabbitmq-server/issues/3729>), and lapin 4.12.3 silently drops a delivery for a
//! consumer that it no longer knows (`src/consumers.rs`). Only closing the channel makes RabbitMQ deliver it again. So a
//! higher prefetch is one more consumer, and a lower one takes a new channel. One consumer that is cancelled and started
//! again would do once lapin passes on such deliveries.

use std::pin::Pin;

use futures_util::stream::{SelectAll, once};
use futures_util::{FutureExt, Stream, StreamExt};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ChannelStatus};
use tracing::debug;

use super::ack_tracker::AckTracker;
use super::connection::Connection;
use super::delivery::{Delivery, is_full_batch, take_batch};
use super::error::{Error, within};
use super::prefetch::Prefetch;

/// What arrives from one consumer: a delivery, an error, or `None` at its end. `SelectAll` drops a stream that has ended without
/// a word; but when RabbitMQ 4.3 and later cancel one of two consumers, for example at the consumer timeout, the channel stays
/// open, and the other one goes on with its own prefetch only.
type Received = Option<lapin::Result<lapin::message::Delivery>>;

/// A consumer on one queue, with a channel of its own. Dropping it returns its unacknowledged deliveries to the queue.
pub struct Consumer {
    connection: Connection,
    queue: String,
    channel: Channel,
    /// The deliveries of every consumer on the channel.
    streams: SelectAll<Pin<Box<dyn Stream<Item = Received> + Send + Sync>>>,
    consumer_tags: Vec<ShortString>,
    prefetch: Prefetch,
    /// Received, but in no batch yet; in order of arrival.
    buffer: Vec<Delivery>,
    acks: AckTracker,
}

/// The state of the channel that a [`Consumer`] had when it was asked.
pub struct ConsumerStatus(ChannelStatus);

impl Consumer {
    /// Starts to consume `queue`, with a prefetch of 1 at first and `max_prefetch` later.
    ///
    /// # Errors
    /// Those of [opening a channel](Error).
    pub async fn open(connection: &Connection, queue: &str, max_prefetch: u16) -> Result<Self, Error> {
        Self::open_with(connection, queue, Prefetch::new(max_prefetch)).await
    }

    async fn open_with(connection: &Connection, queue: &str, prefetch: Prefetch) -> Result<Self, Error> {
        let mut consumer = Self {
            connection: connection.clone(),
            queue: queue.to_owned(),
            channel: connection.channel().await?,
            streams: SelectAll::new(),
            consumer_tags: Vec::new(),
            prefetch,
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

    /// Waits until a whole batch is ready: `limit` deliveries, or as many as fit in one. Waits without end while the prefetch is to be
    /// changed, or repeated messages have arrived: batches then follow each other. Loses nothing when cancelled.
    ///
    /// # Errors
    /// As [`Consumer::next_batch`].
    pub async fn next_full_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        loop {
            if !self.prefetch.is_settled() {
                return std::future::pending().await;
            }
            if is_full_batch(&self.buffer, limit) {
                return Ok(take_batch(&mut self.buffer, limit));
            }
            let received = self.streams.next().await;
            self.receive(received.flatten())?;
        }
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
            self.prefetch.trust();
        }
    }

    /// Whether deliveries of this consumer can still be acknowledged, for a task that handles some.
    #[must_use]
    pub fn status(&self) -> ConsumerStatus {
        ConsumerStatus(self.channel.status().clone())
    }

    /// Closes the channel; RabbitMQ returns unacknowledged messages to the queue.
    pub async fn close(self) {
        if let Err(error) = within(self.connection.deadline, self.channel.close(200, "done".into())).await {
            debug!(queue = self.queue, %error, "the channel was already closed");
        }
    }

    /// Raises the prefetch with one more consumer; lowers it on a new channel, once every delivery is handed out.
    async fn adjust_prefetch(&mut self) -> Result<(), Error> {
        let (current, wanted) = (self.prefetch.current, self.prefetch.wanted());
        if wanted > current {
            self.start_consumer(wanted - current).await?;
        } else if wanted < current {
            self.cancel_consumers().await?;
            if self.buffer.is_empty() {
                let closed = self.channel.close(200, "lowering the prefetch".into());
                within(self.connection.deadline, closed).await?;
                let prefetch = self.prefetch.restarted();
                *self = Self::open_with(&self.connection, &self.queue, prefetch).await?;
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
        self.prefetch.current += prefetch;
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
        self.prefetch.delivered(&delivery);
        self.buffer.push(delivery);
        Ok(())
    }
}

impl ConsumerStatus {
    /// Whether the channel is open. Without it no ack can reach RabbitMQ.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.connected()
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
