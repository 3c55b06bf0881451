//! The loop around a queue: waits until work can be done, consumes, hands over batches, and begins anew when the consumer
//! ends. Both the work queue and the dead queue are consumed by it.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ability::{Ability, GaveUp};
use super::{Attached, Worker};
use crate::broker::{Connection, Consumer, Delivery};
use crate::reconnect::Backoff;

/// A queue and how it is consumed.
pub(super) struct Loop {
    pub(super) duty: Duty,
    pub(super) link: Connection,
    pub(super) queue: String,
    pub(super) prefetch: u16,
    pub(super) batch_size: usize,
    pub(super) attached: Attached,
}

/// What is done with a queue's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Webhooks are handled.
    Handle,
    /// Dead messages are recorded.
    Record,
}

impl Worker {
    /// Consumes until `stop`, then finishes what is in hand.
    pub(super) async fn keep_consuming(&self, queue: &Loop, ability: &Ability, stop: &CancellationToken) {
        let mut pauses = Backoff::default();
        while stop.run_until_cancelled(ability.wait(&queue.link, queue.duty)).await.is_some() {
            let mut consumer = match Consumer::open(&queue.link, &queue.queue, queue.prefetch).await {
                Ok(consumer) => consumer,
                Err(cause) => {
                    warn!(queue = queue.queue, %cause, "cannot consume");
                    stop.run_until_cancelled(tokio::time::sleep(pauses.next_delay())).await;
                    continue;
                }
            };
            info!(queue = queue.queue, "consuming");
            let attached = queue.attached.hold();
            let ended = self.drive(queue, &mut consumer, ability, stop, &mut pauses).await;
            drop(attached);
            consumer.close().await;
            if ended.is_ok() {
                return;
            }
            // Whatever goes wrong each time costs what is in hand a delivery count each time: not at full speed.
            stop.run_until_cancelled(tokio::time::sleep(pauses.next_delay())).await;
        }
    }

    /// Hands over batches until `stop`, then what is left in hand. With each that is settled, `pauses` begin anew.
    async fn drive(
        &self,
        queue: &Loop,
        consumer: &mut Consumer,
        ability: &Ability,
        stop: &CancellationToken,
        pauses: &mut Backoff,
    ) -> Result<(), GaveUp> {
        while let Some(batch) = stop.run_until_cancelled(consumer.next_batch(queue.batch_size)).await {
            self.attend(queue.duty, consumer, &batch?, ability, stop).await?;
            *pauses = Backoff::default();
        }
        loop {
            let batch = consumer.last_batch(queue.batch_size).await?;
            if batch.is_empty() {
                return Ok(());
            }
            self.attend(queue.duty, consumer, &batch, ability, stop).await?;
        }
    }

    async fn attend(
        &self,
        duty: Duty,
        consumer: &mut Consumer,
        batch: &[Delivery],
        ability: &Ability,
        stop: &CancellationToken,
    ) -> Result<(), GaveUp> {
        match duty {
            Duty::Handle => self.handle(consumer, batch, ability, stop).await,
            Duty::Record => self.record(consumer, batch, ability, stop).await,
        }
    }
}
