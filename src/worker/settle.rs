//! Handles one batch from start to finish, and settles it: copies first, acknowledgements last.
//!
//! Dying in between makes a duplicate, never a loss.

use std::time::Instant as Clock;

use futures_util::future::join_all;
use metrics::{counter, histogram};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info_span, warn};

use super::Worker;
use super::consume::{Ability, GaveUp};
use super::decide::{Disposition, Ended, decide};
use super::patience::Patience;
use crate::broker::{self, Consumer, DEADLINE, Delivery, Outgoing};
use crate::domain::instant::Instant;
use crate::{faults, telemetry};

impl Worker {
    /// Handles one batch from start to finish: apply, decide, settle.
    ///
    /// # Errors
    /// [`GaveUp`] when a dependency was away too long; what is unsettled comes back.
    pub(super) async fn handle(
        &self,
        consumer: &mut Consumer,
        batch: &[Delivery],
        ability: &Ability,
        stop: &CancellationToken,
    ) -> Result<(), GaveUp> {
        let began = Clock::now();
        let mut patience = Patience::new(ability, stop);
        let messages: Vec<_> = batch.iter().map(|delivery| &delivery.message).collect();
        let handled = loop {
            match self.apply(&messages).await {
                Ok(handled) => break handled,
                Err(away) => patience.wait(&away, consumer).await?,
            }
        };
        let schedule = self.publisher.link().topology().schedule();
        let decided = handled.into_iter().zip(batch);
        let decided = decided.map(|(handled, delivery)| (delivery, decide(handled, delivery.message.attempt, schedule)));
        let mut unsettled: Vec<_> = decided.collect();
        for (delivery, disposition) in &unsettled {
            tell(delivery, disposition);
        }
        faults::strike_at("before settling");
        while let Err(away) = self.settle(consumer, &mut unsettled).await {
            patience.wait(&away, consumer).await?;
        }
        histogram!("banklink_worker_batch_size").record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        histogram!("banklink_worker_batch_duration_seconds").record(began.elapsed());
        Ok(())
    }

    /// Publishes what has to go elsewhere, all at once, then acknowledges what is safe; the rest stays `unsettled`.
    async fn settle<'a>(
        &self,
        consumer: &mut Consumer,
        unsettled: &mut Vec<(&'a Delivery, Disposition)>,
    ) -> Result<(), broker::Error> {
        let copies = join_all(unsettled.iter().map(|(delivery, disposition)| self.copy(delivery, disposition))).await;
        let (mut safe, mut failed, mut cause) = (Vec::with_capacity(unsettled.len()), Vec::new(), None);
        for (settled, copied) in unsettled.drain(..).zip(copies) {
            match copied {
                Ok(()) => safe.push(settled.0.clone()),
                Err(error) => {
                    failed.push(settled);
                    cause = Some(error);
                }
            }
        }
        *unsettled = failed;
        consumer.ack(&safe).await?;
        cause.map_or(Ok(()), Err)
    }

    async fn copy(&self, delivery: &Delivery, disposition: &Disposition) -> Result<(), broker::Error> {
        let topology = self.publisher.link().topology();
        let copy = match disposition {
            Disposition::Ack(_) => return Ok(()),
            Disposition::Retry(delay, _) => Outgoing::retry(topology, &delivery.message, *delay),
            Disposition::Dead(failure) => Outgoing::dead(topology, &delivery.message, failure, Instant::now()),
        };
        self.publisher.publish(copy, DEADLINE).await
    }
}

/// Counts and logs what became of a delivery.
fn tell(delivery: &Delivery, disposition: &Disposition) {
    let message = &delivery.message;
    let outcome = disposition.as_str();
    counter!("banklink_worker_deliveries_total", "outcome" => outcome).increment(1);
    let span = message.traceparent.as_deref().map(|traceparent| {
        let span = info_span!("handle webhook", message.id, message.attempt, outcome);
        telemetry::follow(&span, Some(traceparent));
        span
    });
    let _entered = span.as_ref().map(tracing::Span::enter);
    match disposition {
        Disposition::Ack(ended) => {
            if let Ended::Ignored(event_type) = ended {
                counter!("banklink_worker_ignored_total", "type" => *event_type).increment(1);
            }
            debug!(message.id, message.attempt, outcome, "handled a webhook");
        }
        Disposition::Retry(delay, failure) => {
            let (class, reason) = (failure.class.as_str(), &failure.reason);
            warn!(message.id, message.attempt, class, reason, retry_in = %delay, "a webhook failed and is tried again");
        }
        Disposition::Dead(failure) => {
            let (class, reason) = (failure.class.as_str(), &failure.reason);
            warn!(message.id, message.attempt, class, reason, "a webhook is dead");
        }
    }
}
