//! Records dead messages: from the dead queue, where they are safe, into the table, where they can be searched.

use tokio_util::sync::CancellationToken;

use super::Worker;
use super::ability::{Ability, GaveUp};
use super::patience::Patience;
use crate::broker::{Consumer, Delivery};
use crate::domain::dead_letter::DeadMessage;
use crate::store::{self, dead_letters};

/// Dead messages in hand, at most.
pub(super) const PREFETCH: u16 = 128;
/// Dead messages in one transaction, at most: their bodies are held in memory, and compared with those on record.
pub(super) const BATCH_SIZE: usize = 64;

impl Worker {
    /// Records a batch of dead messages, then acknowledges it.
    ///
    /// # Errors
    /// [`GaveUp`] when a dependency was away too long; the messages are still on the queue then.
    pub(super) async fn record(
        &self,
        consumer: &mut Consumer,
        batch: &[Delivery],
        ability: &Ability,
        stop: &CancellationToken,
    ) -> Result<(), GaveUp> {
        let work = self.publisher.connection().topology().webhooks();
        let deaths: Vec<DeadMessage> = batch.iter().map(|delivery| died(delivery, &work)).collect();
        let mut patience = Patience::new(ability, stop);
        while let Err(away) = self.write(&deaths).await {
            patience.wait(&away, consumer).await?;
        }
        Ok(consumer.ack(batch).await?)
    }

    async fn write(&self, deaths: &[DeadMessage]) -> Result<(), store::Error> {
        store::with_deadline(store::DEADLINE, async {
            let transaction = self.store.begin().await?;
            dead_letters::record(&transaction, deaths).await?;
            transaction.commit().await
        })
        .await
    }
}

fn died(delivery: &Delivery, work: &str) -> DeadMessage {
    let (message, death) = (&delivery.message, delivery.death(work));
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
