//! Records dead messages: moves them from the dead queue, where they are safe, to `dead_letters`, where they can be searched.

use super::Worker;
use super::outage_backoff::{BatchReleased, OutageBackoff};
use crate::broker::{Consumer, Delivery};
use crate::domain::dead_letter::DeadMessage;
use crate::store::{self, letters};

/// Maximum number of unacknowledged dead messages.
pub(super) const PREFETCH: u16 = 128;
/// Maximum number of dead messages in one transaction. Their bodies are held in memory and compared with recorded ones.
pub(super) const BATCH_SIZE: usize = 64;

impl Worker {
    /// Records a batch of dead messages, then acknowledges it.
    ///
    /// # Errors
    /// [`BatchReleased`] if the consumer was lost or an outage lasted too long; the messages are then still on the queue.
    pub(super) async fn record_dead(&self, consumer: &mut Consumer, batch: &[Delivery]) -> Result<(), BatchReleased> {
        let work_queue = self.publisher.connection().topology().webhooks();
        let dead: Vec<DeadMessage> = batch.iter().map(|delivery| dead_message(delivery, &work_queue)).collect();
        let mut backoff = OutageBackoff::new(&self.gate, &self.stop);
        while let Err(outage) = self.write_dead(&dead).await {
            backoff.wait(&outage, consumer).await?;
        }
        consumer.ack(batch).await?;
        backoff.finish();
        Ok(())
    }

    async fn write_dead(&self, dead: &[DeadMessage]) -> Result<(), store::Error> {
        self.store.transaction(async |transaction| letters::record(transaction, dead).await).await
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
