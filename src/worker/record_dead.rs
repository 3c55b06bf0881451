//! Records dead messages: moves them from the dead queue, where they are safe, to `dead_letters`, where they can be searched.
//!
//! A message that cannot be recorded now, while others can, goes back to the end of the dead queue.

use std::time::Duration;

use futures_util::future::join_all;
use tracing::{field, warn};

use super::Worker;
use super::outage_backoff::{BatchReleased, OutageBackoff};
use super::spans::{self, DEFERRED};
use crate::bisect::Bisection;
use crate::broker::{self, Consumer, Delivery, Outgoing, REQUEST_DEADLINE};
use crate::domain::dead_letter::DeadMessage;
use crate::domain::webhook::peek_type_and_entity;
use crate::store::{self, Operation, Transaction, letters};
use crate::telemetry::trace_id;

/// Maximum number of unacknowledged dead messages.
pub(super) const PREFETCH: u16 = 128;
/// Maximum number of dead messages in one transaction. Their bodies are held in memory and compared with recorded ones.
pub(super) const BATCH_SIZE: usize = 64;
/// The pause after a batch with messages that could not be recorded, so that they do not go round without one.
const DEFERRAL_PAUSE: Duration = Duration::from_secs(1);

/// A dead message that cannot be recorded now, with its index in the batch and the reason.
type Deferred = (usize, String);

impl Worker {
    /// Records a batch of dead messages, then acknowledges it.
    ///
    /// # Errors
    /// [`BatchReleased`] if the consumer was lost or an outage lasted too long; the messages are then still on the queue.
    pub(super) async fn record_dead(
        &self,
        consumer: &mut Consumer,
        mut batch: Vec<Delivery>,
    ) -> Result<(), BatchReleased> {
        let (batch_span, mut spans) = spans::start(consumer, &mut batch);
        let parent = batch_span.context();
        let work_queue = self.publisher.connection().topology().webhooks();
        let dead: Vec<DeadMessage> = batch.iter().map(|delivery| dead_message(delivery, &work_queue)).collect();
        let (mut backoff, status) = (OutageBackoff::new(&self.gate, &self.stop), consumer.status());
        let deferred = loop {
            match self.write_dead_in_parts(&dead, parent).await {
                Ok(deferred) => break deferred,
                Err(outage) => backoff.wait(&outage, &status).await?,
            }
        };
        let is_deferred = |index: usize| deferred.iter().any(|(deferred, _)| *deferred == index);
        let recorded = batch.iter().enumerate().filter(|(index, _)| !is_deferred(*index));
        consumer.ack(recorded.map(|(_, delivery)| delivery), parent).await?;
        if let Some((index, reason)) = deferred.first() {
            let message = &batch[*index].message;
            warn!(
                messages = deferred.len(),
                message.id,
                trace.id = trace_id(message.traceparent.as_deref()),
                bank_link.entity_id = peek_type_and_entity(&message.body).1.map(field::display),
                reason,
                "deferred dead messages: they cannot be recorded now, while others can"
            );
            spans
                .iter_mut()
                .enumerate()
                .filter(|(index, _)| is_deferred(*index))
                .for_each(|(_, span)| span.fail(DEFERRED));
            while let Err(outage) = self.requeue_dead(&batch, &dead, &deferred).await {
                backoff.wait(&outage, &status).await?;
            }
            consumer.ack(deferred.iter().map(|(index, _)| &batch[*index]), parent).await?;
            self.stop.run_until_cancelled(tokio::time::sleep(DEFERRAL_PAUSE)).await;
        }
        backoff.finish();
        Ok(())
    }

    /// Records `dead` in as few transactions as those allow that cannot be recorded, and returns these.
    async fn write_dead_in_parts(
        &self,
        dead: &[DeadMessage],
        parent: Option<&str>,
    ) -> Result<Vec<Deferred>, store::Error> {
        let mut bisection = Bisection::new(dead.iter().enumerate().collect());
        while let Some(part) = bisection.next_part() {
            let Err(error) = self.write_dead(&part, parent).await else { continue };
            match &error {
                store::Error::InvalidRow(_) | store::Error::RuleViolation(_) | store::Error::Blocked(_) => {}
                store::Error::Unavailable(_) | store::Error::TimedOut | store::Error::Contended => return Err(error),
            }
            // If the probe cannot write either, the error is an outage.
            if self.record_store.probe().await.is_err() {
                return Err(error);
            }
            let locked =
                letters::locked(&self.record_store, part.iter().flat_map(|(_, dead)| dead.letter_ids())).await?;
            if locked.is_empty() {
                bisection.failed(part, error.to_string());
                continue;
            }
            let (locked, others): (Vec<_>, Vec<_>) =
                part.into_iter().partition(|(_, dead)| dead.letter_ids().iter().any(|id| locked.contains(id)));
            let cause = "another session has locked the letter";
            bisection.separated(locked.into_iter().map(|dead| (dead, cause.to_owned())), others);
        }
        Ok(bisection.into_faulty().into_iter().map(|((index, _), reason)| (index, reason)).collect())
    }

    async fn write_dead(&self, part: &[(usize, &DeadMessage)], parent: Option<&str>) -> Result<(), store::Error> {
        let operation = Operation { name: "insert", table: "dead_letters", batch_size: part.len() };
        let messages: Vec<&DeadMessage> = part.iter().map(|(_, dead)| *dead).collect();
        let record = async |transaction: &Transaction| letters::record(transaction, &messages).await;
        self.record_store.transaction_in_span(operation, parent, record).await
    }

    /// Publishes copies of the deferred messages to the dead queue. They die no second time: the copy keeps the time of death.
    async fn requeue_dead(
        &self,
        batch: &[Delivery],
        dead: &[DeadMessage],
        deferred: &[Deferred],
    ) -> Result<(), broker::Error> {
        let topology = self.publisher.connection().topology();
        let copies = deferred.iter().map(|(index, _)| {
            let DeadMessage { failure, at, .. } = &dead[*index];
            self.publisher.publish(Outgoing::dead(topology, &batch[*index].message, failure, *at), REQUEST_DEADLINE)
        });
        join_all(copies).await.into_iter().collect()
    }
}

fn dead_message(delivery: &Delivery, work_queue: &str) -> DeadMessage {
    let (message, death) = (&delivery.message, delivery.death(work_queue));
    DeadMessage {
        wire_id: message.id.clone(),
        body: message.body.clone(),
        source: message.source.clone().unwrap_or_else(|| "unknown".to_owned()),
        received_at: message.received_at,
        attempt: message.attempt,
        replay: message.replay.unwrap_or(0),
        edited_from: message.edited_from.clone(),
        traceparent: message.traceparent.clone(),
        failure: death.failure,
        at: death.at.unwrap_or(message.received_at),
    }
}
