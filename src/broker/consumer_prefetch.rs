//! Changes the prefetch of a consumer, as `prefetch.rs` says.
//!
//! RabbitMQ may deliver a message just after it has confirmed a cancel (compare
//! <https://github.com/rabbitmq/rabbitmq-server/issues/3729>), and lapin 4.12.3 silently drops a delivery for a
//! consumer that it no longer knows (`src/consumers.rs`). Only closing the channel makes RabbitMQ deliver it again. So a
//! higher prefetch is one more consumer, and a lower one takes a new channel. One consumer that is cancelled and started
//! again would do once lapin passes on such deliveries.

use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tracing::debug;

use super::consumer::Consumer;
use super::error::{Error, within};
use super::streams::{Streams, until_end};

impl Consumer {
    /// Raises the prefetch with one more consumer; lowers it on a new channel, once every delivery is handed out. Not while the caller
    /// holds deliveries: closing their channel would return them to the queue. If it holds some of those that were received before
    /// the cancel, a new consumer on the same channel goes on until it holds none.
    pub(super) async fn adjust_prefetch(&mut self) -> Result<(), Error> {
        let held = self.unacknowledged - self.buffer.len();
        // A prefetch of 1 would be used up by one that is held.
        let wanted = self.prefetch.wanted().max(u16::try_from(held + 1).unwrap_or(u16::MAX));
        let current = self.prefetch.current;
        if held == 0 && (self.replaces_channel || wanted < current) {
            self.cancel_consumers().await?;
            if self.buffer.is_empty() {
                let closed = self.channel.close(200, "lowering the prefetch".into());
                within(self.connection.deadline, closed).await?;
                let (number, prefetch) = (self.channel_number + 1, self.prefetch.restarted());
                *self = Self::open_channel(&self.connection, &self.queue, number, prefetch).await?;
            }
        } else if self.consumer_tags.is_empty() && self.buffer.is_empty() {
            (self.streams, self.prefetch.current) = (Streams::new(), 0);
            self.start_consumer(wanted).await?;
        } else if !self.consumer_tags.is_empty() && wanted > current {
            self.start_consumer(wanted - current).await?;
        }
        Ok(())
    }

    /// Starts a consumer on the channel. RabbitMQ applies `basic.qos` to consumers that start after it.
    pub(super) async fn start_consumer(&mut self, prefetch: u16) -> Result<(), Error> {
        debug!(queue = self.queue, prefetch, "consuming");
        // If this future is dropped before the end, no task reads what the consumer receives.
        let replaces_channel = std::mem::replace(&mut self.replaces_channel, true);
        let (deadline, channel, queue) = (self.connection.deadline, &self.channel, self.queue.as_str().into());
        within(deadline, channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let started = channel.basic_consume(queue, "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let consumer = within(deadline, started).await?;
        self.consumer_tags.push(consumer.tag());
        self.streams.push(Box::pin(until_end(consumer)));
        self.prefetch.current += prefetch;
        self.replaces_channel = replaces_channel;
        Ok(())
    }

    /// Cancels the consumers and buffers what they have received. Goes on when called again after it was cancelled itself.
    pub(super) async fn cancel_consumers(&mut self) -> Result<(), Error> {
        self.replaces_channel = true;
        while let Some(tag) = self.consumer_tags.last().cloned() {
            let cancelled = self.channel.basic_cancel(tag, BasicCancelOptions::default());
            within(self.connection.deadline, cancelled).await?;
            self.consumer_tags.pop();
        }
        self.receive_ready()
    }
}
