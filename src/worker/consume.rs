//! Consumes a queue batch by batch, and opens a new consumer whenever one ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tracing::{info, warn};

use super::Worker;
use super::held::{HeldDeliveries, RETRY_INTERVAL};
use super::outage_backoff::BatchReleased;
use super::queue::{QueueConfig, QueueKind};
use crate::broker::{Consumer, Delivery};
use crate::reconnect::Backoff;

impl Worker {
    /// Consumes `queue` until `stop` is cancelled, then processes what was already delivered.
    pub(super) async fn consume(&self, queue: &QueueConfig<'_>) {
        let mut backoff = Backoff::default();
        while self.stop.run_until_cancelled(self.gate.wait(queue)).await.is_some() {
            match Consumer::open(queue.connection, &queue.name, queue.prefetch).await {
                Ok(mut consumer) => {
                    info!(queue = queue.name, "consuming");
                    let ended = self.process_all(queue, &mut consumer, &mut backoff).await;
                    consumer.close().await;
                    let Err(cause) = ended else { return };
                    warn!(queue = queue.name, %cause, "unacknowledged deliveries return to the queue");
                }
                Err(cause) => warn!(queue = queue.name, %cause, "cannot consume"),
            }
            // A fault that recurs costs every unacknowledged delivery one delivery count each time.
            self.stop.run_until_cancelled(tokio::time::sleep(backoff.next_delay())).await;
        }
    }

    /// Processes batches until `stop` is cancelled, then what is left. Each processed batch resets `backoff`.
    async fn process_all(
        &self,
        queue: &QueueConfig<'_>,
        consumer: &mut Consumer,
        backoff: &mut Backoff,
    ) -> Result<(), BatchReleased> {
        let _attached = (queue.kind == QueueKind::Work).then(|| Attached::set(&self.consumer_attached));
        let mut held = HeldDeliveries::default();
        loop {
            self.settle_held(consumer, &mut held).await?;
            // While deliveries are held, publishing is tried again even if no batch arrives.
            let max_wait = if held.is_empty() { Duration::MAX } else { RETRY_INTERVAL };
            let next = timeout(max_wait, consumer.next_batch(queue.batch_size));
            let Some(next) = self.stop.run_until_cancelled(next).await else { break };
            if let Ok(batch) = next {
                self.process(queue.kind, consumer, batch?, &mut held).await?;
                *backoff = Backoff::default();
            }
        }
        loop {
            let batch = consumer.last_batch(queue.batch_size).await?;
            if batch.is_empty() {
                return self.settle_held(consumer, &mut held).await;
            }
            self.process(queue.kind, consumer, batch, &mut held).await?;
        }
    }

    async fn process(
        &self,
        kind: QueueKind,
        consumer: &mut Consumer,
        batch: Vec<Delivery>,
        held: &mut HeldDeliveries,
    ) -> Result<(), BatchReleased> {
        match kind {
            QueueKind::Work => self.handle(consumer, batch, held).await,
            QueueKind::Dead => self.record_dead(consumer, &batch).await,
        }
    }
}

/// Keeps a flag set until dropped, however that comes about.
struct Attached<'a>(&'a AtomicBool);

impl<'a> Attached<'a> {
    fn set(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
