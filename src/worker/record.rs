//! Records dead messages: from the dead queue, where they are safe, into the table, where they can be searched.

use tokio_util::sync::CancellationToken;

use super::Worker;
use super::consume::{Ability, GaveUp};
use super::patience::Patience;
use crate::broker::{Consumer, Delivery};
use crate::domain::dead_letter::Died;
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
        let deaths: Vec<Died> = batch.iter().map(died).collect();
        let mut patience = Patience::new(ability, stop);
        while let Err(away) = self.write(&deaths).await {
            patience.wait(&away, consumer).await?;
        }
        Ok(consumer.ack(batch).await?)
    }

    async fn write(&self, deaths: &[Died]) -> Result<(), store::Error> {
        let work = async {
            let transaction = self.store.begin().await?;
            dead_letters::record(&transaction, deaths).await?;
            transaction.commit().await
        };
        tokio::time::timeout(store::DEADLINE, work).await.map_err(|_| store::Error::TimedOut)?
    }
}

fn died(delivery: &Delivery) -> Died {
    let Delivery { message, death, .. } = delivery;
    Died {
        wire_id: message.id.clone(),
        body: message.body.clone(),
        source: message.source.clone().unwrap_or_else(|| "unknown".to_owned()),
        received_at: message.received_at,
        attempt: message.attempt,
        replay: message.replay.unwrap_or(0),
        edited_from: message.edited_from.clone(),
        traceparent: message.traceparent.clone(),
        failure: death.failure.clone(),
        at: death.at.unwrap_or(message.received_at),
    }
}
