//! Consumes a queue: returns the deliveries that are ready, up to a batch, and acknowledges cumulatively.
//!
//! The prefetch changes while it consumes: `consumer_prefetch.rs`.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::BasicAckOptions;
use lapin::types::ShortString;
use tracing::debug;

use super::ack_tracker::AckTracker;
use super::connection::Connection;
use super::consumer_status::ConsumerStatus;
use super::delivery::{Delivery, is_full_batch, take_batch};
use super::error::{Error, within};
use super::prefetch::Prefetch;
use super::spans::error_type;
use super::streams::{Received, Streams};

/// How long deliveries are collected after one has arrived, before it is checked whether they make a whole batch.
const COLLECTING_TIME: Duration = Duration::from_millis(1);

/// A consumer on one queue, with a channel of its own. Dropping it returns its unacknowledged deliveries to the queue.
pub struct Consumer {
    pub(super) connection: Connection,
    pub(super) queue: String,
    pub(super) channel: Channel,
    /// How many channels this consumer has had.
    pub(super) channel_number: u32,
    /// The deliveries of every consumer on the channel.
    pub(super) streams: Streams,
    /// Those of the consumers that are not cancelled.
    pub(super) consumer_tags: Vec<ShortString>,
    /// Whether another channel is to be opened: consumers of this one were cancelled, or the start of one was interrupted.
    pub(super) replaces_channel: bool,
    pub(super) prefetch: Prefetch,
    /// Received, but in no batch yet.
    pub(super) buffer: Vec<Delivery>,
    /// Received on this channel and not acknowledged.
    pub(super) unacknowledged: usize,
    acks: AckTracker,
}

impl Consumer {
    /// Starts to consume `queue`, with a prefetch of 1 at first and `max_prefetch` later.
    ///
    /// # Errors
    /// Those of [opening a channel](Error).
    pub async fn open(connection: &Connection, queue: &str, max_prefetch: u16) -> Result<Self, Error> {
        Self::open_channel(connection, queue, 1, Prefetch::new(max_prefetch)).await
    }

    pub(super) async fn open_channel(
        connection: &Connection,
        queue: &str,
        channel_number: u32,
        prefetch: Prefetch,
    ) -> Result<Self, Error> {
        let mut consumer = Self {
            connection: connection.clone(),
            queue: queue.to_owned(),
            channel: connection.channel().await?,
            channel_number,
            streams: Streams::new(),
            consumer_tags: Vec::new(),
            replaces_channel: false,
            prefetch,
            buffer: Vec::new(),
            unacknowledged: 0,
            acks: AckTracker::default(),
        };
        consumer.start_consumer(1).await?;
        Ok(consumer)
    }

    /// Waits for a delivery and returns it with those that are ready, up to `limit`, in their order. Messages that were delivered
    /// before come alone, after the others. May be cancelled: at worst the channel is lost.
    ///
    /// # Errors
    /// [`Error::ConsumerEnded`] when RabbitMQ cancelled the consumer, for example because the queue was deleted. Any
    /// other error when the channel or the connection is lost.
    pub async fn next_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        self.adjust_prefetch().await?;
        if self.buffer.is_empty() {
            self.receive_next().await?;
        }
        self.receive_ready()?;
        Ok(take_batch(&mut self.buffer, limit))
    }

    /// Waits until a whole batch is ready: `limit` deliveries, or as many as fit in one. Waits without end while the prefetch is to be
    /// changed, or repeated messages have arrived: batches then follow each other. Loses nothing when cancelled.
    ///
    /// # Errors
    /// As [`Consumer::next_batch`].
    pub async fn next_full_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        while self.prefetch.allows_overlap() && !self.replaces_channel {
            self.receive_ready()?;
            if self.prefetch.allows_overlap() && is_full_batch(&self.buffer, limit) {
                return Ok(take_batch(&mut self.buffer, limit));
            }
            self.receive_next().await?;
            // What arrives meanwhile hardly wakes the task.
            tokio::time::sleep(COLLECTING_TIME).await;
        }
        std::future::pending().await
    }

    /// Cancels the consumer, and returns what it has already received: one batch per call, until an empty one.
    ///
    /// # Errors
    /// [`Error::TimedOut`] or [`Error::Amqp`] when the channel is lost.
    pub async fn last_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        self.cancel_consumers().await?;
        Ok(take_batch(&mut self.buffer, limit))
    }

    /// Acknowledges exactly these deliveries; those of an earlier channel have returned to the queue. `parent` is the `traceparent`
    /// of their batch, if it has any.
    ///
    /// # Errors
    /// [`Error::TimedOut`] or [`Error::Amqp`] when the channel is lost.
    pub async fn ack(
        &mut self,
        deliveries: impl IntoIterator<Item = &Delivery>,
        parent: Option<&str>,
    ) -> Result<(), Error> {
        let deliveries: Vec<&Delivery> = deliveries.into_iter().filter(|delivery| self.owns(delivery)).collect();
        let mut span = self.source().settle_span(deliveries.len(), parent);
        self.send_acks(deliveries).await.inspect_err(|error| span.fail(error_type(error)))
    }

    async fn send_acks(&mut self, deliveries: Vec<&Delivery>) -> Result<(), Error> {
        self.unacknowledged -= deliveries.len();
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
        self.handled(deliveries);
        for (tag, multiple) in self.acks.acknowledge(&tags) {
            let sent = self.channel.basic_ack(tag, BasicAckOptions { multiple });
            within(self.connection.deadline, sent).await?;
        }
        Ok(())
    }

    /// Whether the delivery can still be acknowledged. Those of an earlier channel cannot: RabbitMQ delivers them again.
    #[must_use]
    pub fn owns(&self, delivery: &Delivery) -> bool {
        delivery.channel == self.channel_number
    }

    /// The prefetch while no message is suspected to crash the worker.
    #[must_use]
    pub fn usual_prefetch(&self) -> u16 {
        self.prefetch.usual()
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

    /// Waits for a delivery and buffers it.
    async fn receive_next(&mut self) -> Result<(), Error> {
        let received = self.streams.next().await;
        self.receive(received.flatten())
    }

    /// Buffers every delivery that is ready.
    pub(super) fn receive_ready(&mut self) -> Result<(), Error> {
        while let Some(Some(received)) = self.streams.next().now_or_never() {
            self.receive(received)?;
        }
        Ok(())
    }

    /// Buffers a delivery. `None` is the end of a consumer, which is expected once all are cancelled.
    fn receive(&mut self, delivery: Received) -> Result<(), Error> {
        match delivery {
            Some(delivery) => {
                let delivery = Delivery::read(delivery?, self.channel_number);
                self.unacknowledged += 1;
                self.prefetch.delivered(&delivery);
                self.buffer.push(delivery);
                Ok(())
            }
            None if self.consumer_tags.is_empty() => Ok(()),
            None => Err(Error::ConsumerEnded(self.queue.clone())),
        }
    }
}
