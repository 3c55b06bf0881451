//! Consumes a queue: hands over what is ready, up to a batch, and acknowledges cumulatively.
//!
//! It starts with care. A crash costs everything that was handed out one delivery count, so a message that crashes the
//! worker and its neighbours would reach the delivery limit together. Hence one at a time until a delivery without a count
//! has been settled, and again as soon as one with a count shows up.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tracing::debug;

use super::message::Headers;
use super::{Death, Error, Link, Message, in_time};
use crate::domain::instant::Instant;

/// One handing-over of a message; settled exactly once.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Why it is on the dead queue, if that is where it comes from.
    pub death: Death,
    tag: u64,
    /// Whether the broker has given it out before and got no answer.
    counted: bool,
}

/// How many deliveries the broker may hand out ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// One at a time.
    Careful,
    /// The full prefetch.
    Full,
}

/// A consumer on one queue, with its channel. Dropping it gives back what it holds.
pub struct Consumer {
    channel: Channel,
    stream: lapin::Consumer,
    queue: String,
    work: String,
    prefetch: u16,
    pace: Pace,
    wanted: Pace,
    /// Whether the broker has been told to hand out no more.
    stopped: bool,
    /// Taken off the stream, not handed over yet.
    held: VecDeque<Delivery>,
    /// Handed over or held, and not acknowledged: what a cumulative ack must not reach past.
    unsettled: BTreeSet<u64>,
}

impl Consumer {
    /// Begins to consume `queue`, with care at first, then with at most `prefetch` deliveries in hand.
    ///
    /// # Errors
    /// When the connection, the channel or the queue is not there.
    pub async fn open(link: &Link, queue: &str, prefetch: u16) -> Result<Self, Error> {
        let channel = link.channel().await?;
        let stream = consume(&channel, queue, 1).await?;
        Ok(Self {
            channel,
            stream,
            queue: queue.to_owned(),
            work: link.topology().webhooks(),
            prefetch,
            pace: Pace::Careful,
            wanted: Pace::Careful,
            stopped: false,
            held: VecDeque::new(),
            unsettled: BTreeSet::new(),
        })
    }

    /// Waits for a delivery and takes what else is ready, up to `limit`. Those that the broker has given out before come
    /// alone, after the others. Cancel safe but for the connection's sake: what was in hand comes back.
    ///
    /// # Errors
    /// When the consumer has ended: everything unsettled comes back by itself.
    pub async fn next_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        self.adjust_pace().await?;
        if self.held.is_empty() {
            let first = self.stream.next().await;
            self.hold(first)?;
        }
        while self.held.len() < limit {
            match self.stream.next().now_or_never() {
                Some(delivery) => self.hold(delivery)?,
                None => break,
            }
        }
        Ok(self.hand_over(limit))
    }

    /// Stops the broker from handing out more, and returns what is in hand, a batch with each call, until none is left.
    ///
    /// # Errors
    /// When the channel is lost meanwhile.
    pub async fn last_batch(&mut self, limit: usize) -> Result<Vec<Delivery>, Error> {
        if !self.stopped {
            self.stop_handing_out().await?;
            self.stopped = true;
        }
        Ok(self.hand_over(limit))
    }

    /// Acknowledges `deliveries`, cumulatively as far as nothing else is skipped.
    ///
    /// # Errors
    /// When the channel is lost: they come back.
    pub async fn ack(&mut self, deliveries: &[Delivery]) -> Result<(), Error> {
        for delivery in deliveries {
            self.unsettled.remove(&delivery.tag);
        }
        if self.held.is_empty() && deliveries.iter().any(|delivery| !delivery.counted) {
            self.wanted = Pace::Full;
        }
        let oldest_unsettled = self.unsettled.first().copied().unwrap_or(u64::MAX);
        let tags = || deliveries.iter().map(|delivery| delivery.tag);
        if let Some(last) = tags().filter(|tag| *tag < oldest_unsettled).max() {
            self.ack_tag(last, true).await?;
        }
        for tag in tags().filter(|tag| *tag > oldest_unsettled) {
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
        if let Err(error) = in_time(self.channel.close(200, "done".into())).await {
            debug!(queue = self.queue, %error, "the channel was gone already");
        }
    }

    /// Takes a consumer with another prefetch where the pace has to change: RabbitMQ fixes it when consuming begins.
    async fn adjust_pace(&mut self) -> Result<(), Error> {
        if self.pace == self.wanted {
            return Ok(());
        }
        self.stop_handing_out().await?;
        let prefetch = match self.wanted {
            Pace::Careful => 1,
            Pace::Full => self.prefetch,
        };
        debug!(queue = self.queue, prefetch, "consuming at another pace");
        self.stream = consume(&self.channel, &self.queue, prefetch).await?;
        self.pace = self.wanted;
        Ok(())
    }

    /// Cancels the consumer and holds what it had already been sent.
    async fn stop_handing_out(&mut self) -> Result<(), Error> {
        in_time(self.channel.basic_cancel(self.stream.tag(), BasicCancelOptions::default())).await?;
        while let Some(Some(delivery)) = self.stream.next().now_or_never() {
            self.hold(Some(delivery))?;
        }
        Ok(())
    }

    fn hold(&mut self, delivery: Option<lapin::Result<lapin::message::Delivery>>) -> Result<(), Error> {
        let delivery = delivery.ok_or_else(|| Error::ConsumerEnded(self.queue.clone()))??;
        let death = Death::read(&delivery.properties, &self.work);
        let given_out = Headers(delivery.properties.headers().as_ref()).number("x-delivery-count").unwrap_or(0);
        let (tag, counted) = (delivery.delivery_tag, given_out > 0);
        if counted {
            self.wanted = Pace::Careful;
        }
        let message = Message::read(&delivery.properties, Bytes::from(delivery.data), Instant::now());
        self.unsettled.insert(tag);
        self.held.push_back(Delivery { message, death, tag, counted });
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
        in_time(self.channel.basic_ack(tag, BasicAckOptions { multiple })).await
    }
}

async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> Result<lapin::Consumer, Error> {
    in_time(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let options = BasicConsumeOptions::default();
    in_time(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default())).await
}
