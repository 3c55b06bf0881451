//! Consumes a queue: hands over what is ready, up to a batch, and acknowledges cumulatively.
//!
//! It starts with care. A crash costs everything that was handed out one delivery count, so a message that crashes the
//! worker and its neighbours would reach the delivery limit together. Hence one at a time until a delivery without a count
//! has been settled, and again as soon as one with a count shows up.
//!
//! RabbitMQ may still deliver just after it has confirmed a cancel, and lapin drops such a delivery unseen; only closing the
//! channel brings it back. So going faster means a second consumer beside the first, and going slower a new channel.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::SelectAll;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use tracing::debug;

use super::acks::{Acks, ToSend};
use super::message::Headers;
use super::{Connection, Death, Error, Message, with_deadline};
use crate::domain::timestamp::Timestamp;

/// One handing-over of a message; settled exactly once.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    properties: BasicProperties,
    tag: u64,
    /// Whether the broker has given it out before and got no answer.
    counted: bool,
}

impl Delivery {
    /// Why it is on the dead queue, if that is where it comes from; `work` is the queue that it may have expired on.
    #[must_use]
    pub fn death(&self, work: &str) -> Death {
        Death::read(&self.properties, work)
    }
}

/// How many deliveries the broker may hand out ahead of their acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefetch {
    /// One: with care.
    One,
    /// As many as the settings say.
    Full,
}

/// A consumer on one queue, with its channel. Dropping it gives back what it holds.
pub struct Consumer {
    connection: Connection,
    queue: String,
    prefetch: u16,
    channel: Channel,
    streams: SelectAll<lapin::Consumer>,
    /// The tags of the consumers behind the streams.
    tags: Vec<ShortString>,
    current: Prefetch,
    wanted: Prefetch,
    /// Taken off the streams, not handed over yet.
    held: VecDeque<Delivery>,
    acks: Acks,
}

impl Consumer {
    /// Begins to consume `queue`, with care at first, then with at most `prefetch` deliveries in hand.
    ///
    /// # Errors
    /// When the connection, the channel or the queue is not there.
    pub async fn open(connection: &Connection, queue: &str, prefetch: u16) -> Result<Self, Error> {
        let mut consumer = Self {
            connection: connection.clone(),
            queue: queue.to_owned(),
            prefetch,
            channel: connection.channel().await?,
            streams: SelectAll::new(),
            tags: Vec::new(),
            current: Prefetch::One,
            wanted: Prefetch::One,
            held: VecDeque::new(),
            acks: Acks::default(),
        };
        consumer.consume(1).await?;
        Ok(consumer)
    }

    /// Waits for a delivery and takes what else is ready, up to `limit`. Those that the broker has given out before come
    /// alone, after the others. It may be cancelled: at worst the channel is lost, and what was in hand is delivered again.
    ///
    /// # Errors
    /// When the consumer has ended: everything unsettled comes back by itself.
    pub async fn next_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        self.adjust_prefetch().await?;
        if self.held.is_empty() {
            let first = self.streams.next().await;
            self.hold(first)?;
        }
        while self.held.len() < limit {
            match self.streams.next().now_or_never() {
                Some(Some(delivery)) => self.hold(Some(delivery))?,
                _ => break,
            }
        }
        Ok(self.hand_over(limit))
    }

    /// Stops the broker from handing out more, and returns what is in hand, a batch with each call, until none is left.
    ///
    /// # Errors
    /// When the channel is lost meanwhile.
    pub async fn last_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        self.stop_handing_out().await?;
        Ok(self.hand_over(limit))
    }

    /// Acknowledges `deliveries`, and nothing else.
    ///
    /// # Errors
    /// When the channel is lost: they come back.
    pub async fn ack(&mut self, deliveries: impl IntoIterator<Item = &Delivery>) -> Result<(), Error> {
        let (mut tags, mut is_any_uncounted) = (Vec::new(), false);
        for delivery in deliveries {
            tags.push(delivery.tag);
            is_any_uncounted |= !delivery.counted;
        }
        if self.held.is_empty() && is_any_uncounted {
            self.wanted = Prefetch::Full;
        }
        let ToSend { cumulative, single } = self.acks.add(&tags);
        if let Some(last) = cumulative {
            self.ack_tag(last, true).await?;
        }
        for tag in single {
            self.ack_tag(tag, false).await?;
        }
        Ok(())
    }

    /// Whether the channel still stands: without it, no ack can reach the broker.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.channel.status().connected()
    }

    /// Closes the channel; the broker takes back what was not acknowledged, once.
    pub async fn close(self) {
        if let Err(error) = with_deadline(self.channel.close(200, "done".into())).await {
            debug!(queue = self.queue, %error, "the channel was gone already");
        }
    }

    /// Goes faster with a second consumer; goes slower on a new channel, once nothing is in hand any more.
    async fn adjust_prefetch(&mut self) -> Result<(), Error> {
        match (self.current, self.wanted) {
            (Prefetch::One, Prefetch::Full) if self.prefetch > 1 => {
                self.consume(self.prefetch - 1).await?;
                self.current = Prefetch::Full;
            }
            (Prefetch::Full, Prefetch::One) => {
                self.stop_handing_out().await?;
                if self.held.is_empty() {
                    with_deadline(self.channel.close(200, "slowing down".into())).await?;
                    *self = Self::open(&self.connection, &self.queue, self.prefetch).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a consumer with that many deliveries in hand at most: RabbitMQ fixes the number when consuming begins.
    async fn consume(&mut self, prefetch: u16) -> Result<(), Error> {
        debug!(queue = self.queue, prefetch, "consuming");
        with_deadline(self.channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let (queue, options) = (self.queue.as_str().into(), BasicConsumeOptions::default());
        let consumer =
            with_deadline(self.channel.basic_consume(queue, "".into(), options, FieldTable::default())).await?;
        self.tags.push(consumer.tag());
        self.streams.push(consumer);
        Ok(())
    }

    /// Cancels the consumers and holds what they had already been sent.
    async fn stop_handing_out(&mut self) -> Result<(), Error> {
        for tag in std::mem::take(&mut self.tags) {
            with_deadline(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        }
        while let Some(Some(delivery)) = self.streams.next().now_or_never() {
            self.hold(Some(delivery))?;
        }
        Ok(())
    }

    fn hold(&mut self, delivery: Option<lapin::Result<lapin::message::Delivery>>) -> Result<(), Error> {
        let delivery = delivery.ok_or_else(|| Error::ConsumerEnded(self.queue.clone()))??;
        let given_out = Headers(delivery.properties.headers().as_ref()).number("x-delivery-count").unwrap_or(0);
        let (tag, counted) = (delivery.delivery_tag, given_out > 0);
        if counted {
            self.wanted = Prefetch::One;
        }
        let message = Message::read(&delivery.properties, Bytes::from(delivery.data), Timestamp::now());
        self.held.push_back(Delivery { message, properties: delivery.properties, tag, counted });
        Ok(())
    }

    /// What is held without a count, up to `limit`; else one with a count.
    fn hand_over(&mut self, limit: usize) -> Vec<Delivery> {
        if self.held.iter().all(|delivery| delivery.counted) {
            return self.held.pop_front().into_iter().collect();
        }
        let (mut batch, mut later) = (Vec::new(), VecDeque::new());
        for delivery in self.held.drain(..) {
            if delivery.counted || batch.len() == limit {
                later.push_back(delivery);
            } else {
                batch.push(delivery);
            }
        }
        self.held = later;
        batch
    }

    async fn ack_tag(&self, tag: u64, multiple: bool) -> Result<(), Error> {
        with_deadline(self.channel.basic_ack(tag, BasicAckOptions { multiple })).await
    }
}
