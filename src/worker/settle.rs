//! Settles what was decided: copies first, acknowledgements last.
//!
//! Dying in between makes a duplicate, never a loss.

use futures_util::future::join_all;
use metrics::counter;
use tracing::{debug, info_span, warn};

use super::Worker;
use super::ability::GaveUp;
use super::decide::{Disposition, Ended};
use crate::broker::{self, Consumer, DEADLINE, Delivery, Outgoing};
use crate::domain::webhook::glimpse;
use crate::telemetry;

impl Worker {
    /// Publishes what has to go elsewhere, all at once, then acknowledges what is safe. What could not be published stays
    /// `unsettled`: why.
    ///
    /// # Errors
    /// When the consumer is lost, and with it what was to be acknowledged.
    pub(super) async fn settle(
        &self,
        consumer: &mut Consumer,
        unsettled: &mut Vec<(&Delivery, Disposition)>,
    ) -> Result<Option<broker::Error>, GaveUp> {
        let copies = join_all(unsettled.iter().map(|(delivery, disposition)| self.copy(delivery, disposition))).await;
        let (mut safe, mut failed, mut cause) = (Vec::with_capacity(unsettled.len()), Vec::new(), None);
        for (settled, copied) in unsettled.drain(..).zip(copies) {
            match copied {
                Ok(()) => safe.push(settled.0),
                Err(error) => {
                    failed.push(settled);
                    cause = Some(error);
                }
            }
        }
        *unsettled = failed;
        consumer.ack(safe).await?;
        Ok(cause)
    }

    async fn copy(&self, delivery: &Delivery, disposition: &Disposition) -> Result<(), broker::Error> {
        let topology = self.publisher.connection().topology();
        let copy = match disposition {
            Disposition::Ack(_) => return Ok(()),
            Disposition::Retry(delay, _) => Outgoing::retry(topology, &delivery.message, *delay),
            Disposition::Aside(delay, _) => Outgoing::deferred(topology, &delivery.message, *delay),
            Disposition::Dead(failure, at) => Outgoing::dead(topology, &delivery.message, failure, *at),
        };
        self.publisher.publish(copy, DEADLINE).await
    }
}

/// Counts and logs what became of a delivery.
pub(super) fn tell(delivery: &Delivery, disposition: &Disposition) {
    let message = &delivery.message;
    let outcome = disposition.as_str();
    counter!("banklink_worker_deliveries_total", "outcome" => outcome).increment(1);
    let span = message.traceparent.as_deref().map(|traceparent| {
        let span = info_span!("handle webhook", message.id, message.attempt, outcome);
        telemetry::set_parent(&span, Some(traceparent));
        span
    });
    let _entered = span.as_ref().map(tracing::Span::enter);
    // Of those that are heard of below: the batch itself has no need to read a body twice.
    let bank_link = || glimpse(&message.body).1.map(tracing::field::display);
    match disposition {
        Disposition::Ack(ended) => {
            if let Ended::Ignored(event_type) = ended {
                counter!("banklink_worker_ignored_total", "type" => *event_type).increment(1);
            }
            debug!(message.id, message.attempt, outcome, "handled a webhook");
        }
        Disposition::Retry(delay, failure) => {
            let (class, reason) = (failure.class.as_str(), &failure.reason);
            warn!(message.id, message.attempt, bank_link.entity_id = bank_link(), class, reason, retry_in = %delay,
                "a webhook failed and is tried again");
        }
        Disposition::Aside(delay, reason) => {
            warn!(message.id, message.attempt, bank_link.entity_id = bank_link(), reason, back_in = %delay,
                "this cannot be written for now, while other rows can: put aside");
        }
        Disposition::Dead(failure, _) => {
            let (class, reason) = (failure.class.as_str(), &failure.reason);
            warn!(message.id, message.attempt, bank_link.entity_id = bank_link(), class, reason, "a webhook is dead");
        }
    }
}
