//! Settles deliveries: publishes the copies, then acknowledges.
//!
//! A crash in between leaves a duplicate, never a loss.

use futures_util::future::join_all;

use super::Worker;
use super::classify::{ClassifiedDelivery, Disposition};
use crate::broker::{self, Consumer, Outgoing, REQUEST_DEADLINE};

/// What one round of settling came to.
pub(super) struct Settled {
    /// The deliveries that need no copy, or whose copy was confirmed.
    pub(super) deliveries: Vec<ClassifiedDelivery>,
    /// Whether their acknowledgements were sent. If not, RabbitMQ delivers them again.
    pub(super) acknowledged: Result<(), broker::Error>,
    /// Why the others could not be published.
    pub(super) outage: Option<broker::Error>,
}

impl Worker {
    /// Publishes all copies at once and acknowledges every delivery that is safe. The others stay in `unsettled`. `parent` is
    /// the `traceparent` of the batch, if it has any.
    pub(super) async fn settle(
        &self,
        consumer: &mut Consumer,
        unsettled: &mut Vec<ClassifiedDelivery>,
        parent: Option<&str>,
    ) -> Settled {
        let (copied, mut deliveries): (Vec<_>, Vec<_>) =
            unsettled.drain(..).partition(|delivery| !matches!(delivery.disposition, Disposition::Ack(_)));
        let copies = join_all(copied.iter().map(|delivery| self.publish_copy(delivery))).await;
        let (mut failed, mut outage) = (Vec::new(), None);
        for (delivery, copy) in copied.into_iter().zip(copies) {
            match copy {
                Ok(()) => deliveries.push(delivery),
                Err(error) => {
                    failed.push(delivery);
                    outage = Some(error);
                }
            }
        }
        *unsettled = failed;
        let acknowledged = consumer.ack(deliveries.iter().map(|delivery| &delivery.parsed.delivery), parent).await;
        Settled { deliveries, acknowledged, outage }
    }

    /// Publishes the copy that the disposition asks for, if any.
    async fn publish_copy(&self, delivery: &ClassifiedDelivery) -> Result<(), broker::Error> {
        let (topology, message) = (self.publisher.connection().topology(), delivery.parsed.message());
        let copy = match &delivery.disposition {
            Disposition::Ack(_) => return Ok(()),
            Disposition::Retry(delay, _) => Outgoing::retry(topology, message, *delay),
            Disposition::Defer(delay, _) => Outgoing::deferred(topology, message, *delay),
            Disposition::Dead(at, failure) => Outgoing::dead(topology, message, failure, *at),
        };
        tokio::select! {
            biased;
            published = self.publisher.publish(copy, REQUEST_DEADLINE) => published,
            // RabbitMQ blocks a connection at its first publish during an alarm. That one is answered after the alarm.
            () = self.publisher.connection().until_blocked() => Err(broker::Error::Blocked),
        }
    }
}
