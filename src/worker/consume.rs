//! Consumes a queue batch by batch, and opens a new consumer whenever one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tracing::{info, warn};

use super::Worker;
use super::batch::ParsedBatch;
use super::held::{HeldDeliveries, RETRY_INTERVAL};
use super::in_flight::{InFlight, Next};
use super::outage_backoff::BatchReleased;
use super::queue::{QueueConfig, QueueKind};
use crate::broker::Consumer;
use crate::reconnect::Backoff;

impl Worker {
    /// Consumes `queue` until `stop` is cancelled, then processes what was already delivered.
    pub(super) async fn consume(self: &Arc<Self>, queue: &QueueConfig<'_>) {
        let mut backoff = Backoff::default();
        while self.stop.run_until_cancelled(self.gate.wait(queue)).await.is_some() {
            match Consumer::open(queue.connection, &queue.name, queue.prefetch).await {
                Ok(mut consumer) => {
                    info!(queue = queue.name, "consuming");
                    let ended = match queue.kind {
                        QueueKind::Work => self.process_webhooks(queue, &mut consumer, &mut backoff).await,
                        QueueKind::Dead => self.process_dead(queue, &mut consumer, &mut backoff).await,
                    };
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

    /// Processes batches of webhooks until `stop` is cancelled, then what is left. Each settled batch resets `backoff`.
    async fn process_webhooks(
        self: &Arc<Self>,
        queue: &QueueConfig<'_>,
        consumer: &mut Consumer,
        backoff: &mut Backoff,
    ) -> Result<(), BatchReleased> {
        let _attached = Attached::set(&self.consumer_attached);
        let (mut in_flight, mut held) = (InFlight::new(self), HeldDeliveries::default());
        loop {
            self.settle_held(consumer, &mut held).await?;
            // While deliveries are held, publishing is tried again even if nothing happens.
            let max_wait = if held.is_empty() { Duration::MAX } else { RETRY_INTERVAL };
            let next = timeout(max_wait, in_flight.next(consumer, queue.batch_size));
            match self.stop.run_until_cancelled(next).await {
                None => break,
                Some(Err(_elapsed)) => {}
                Some(Ok(next)) => match next? {
                    Next::Received(batch) => {
                        let batch = ParsedBatch::parse(consumer, batch);
                        while in_flight.conflicts_with(&batch) {
                            let written = in_flight.next_written().await?;
                            self.settle_batch(consumer, written, &mut held).await?;
                        }
                        in_flight.start(self, batch, consumer);
                    }
                    Next::Written(batch) => {
                        self.settle_batch(consumer, batch, &mut held).await?;
                        *backoff = Backoff::default();
                    }
                },
            }
        }
        while !in_flight.is_empty() {
            let written = in_flight.next_written().await?;
            self.settle_batch(consumer, written, &mut held).await?;
        }
        loop {
            let batch = consumer.last_batch(queue.batch_size).await?;
            if batch.is_empty() {
                return self.settle_held(consumer, &mut held).await;
            }
            self.handle(consumer, batch, &mut held).await?;
        }
    }

    /// Records batches of dead messages until `stop` is cancelled, then what is left. Each recorded batch resets `backoff`.
    async fn process_dead(
        &self,
        queue: &QueueConfig<'_>,
        consumer: &mut Consumer,
        backoff: &mut Backoff,
    ) -> Result<(), BatchReleased> {
        while let Some(batch) = self.stop.run_until_cancelled(consumer.next_batch(queue.batch_size)).await {
            self.record_dead(consumer, batch?).await?;
            *backoff = Backoff::default();
        }
        loop {
            let batch = consumer.last_batch(queue.batch_size).await?;
            if batch.is_empty() {
                return Ok(());
            }
            self.record_dead(consumer, batch).await?;
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
