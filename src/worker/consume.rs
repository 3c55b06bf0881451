//! The loop around a queue: waits until work can be done, consumes, hands over batches, and begins anew when the consumer
//! ends. Both the work queue and the dead queue are consumed by it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Attached, Worker};
use crate::broker::{self, Consumer, Delivery, Link};
use crate::reconnect;
use crate::store::{self, Store};

/// A queue and how it is consumed.
pub(super) struct Loop {
    pub(super) duty: Duty,
    pub(super) queue: String,
    pub(super) prefetch: u16,
    pub(super) batch_size: usize,
    pub(super) attached: Attached,
}

/// What is done with a queue's messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Duty {
    /// Webhooks are handled.
    Handle,
    /// Dead messages are recorded.
    Record,
}

/// The batch could not be finished; what is unsettled goes back to the broker.
pub(super) struct GaveUp;

impl From<broker::Error> for GaveUp {
    fn from(cause: broker::Error) -> Self {
        warn!(%cause, "the consumer is lost; what is in hand comes back");
        Self
    }
}

/// Whether work can be done at all: both connections and the database. Only then is anything consumed, so that an outage,
/// however long, costs a delivery one count at most.
pub(super) struct Ability {
    store: Store,
    publish: Link,
    consume: Link,
    /// How many loops wait for a dependency.
    paused: AtomicUsize,
}

#[derive(Debug, thiserror::Error)]
enum Unable {
    #[error(transparent)]
    Broker(#[from] broker::Error),
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl Ability {
    pub(super) fn new(store: Store, publish: Link, consume: Link) -> Self {
        Self { store, publish, consume, paused: AtomicUsize::new(0) }
    }

    /// Counts a loop that waits.
    pub(super) fn pause(&self) {
        self.paused.fetch_add(1, Ordering::Relaxed);
        gauge!("banklink_worker_paused").set(1);
    }

    /// Counts a loop that goes on.
    pub(super) fn resume(&self) {
        if self.paused.fetch_sub(1, Ordering::Relaxed) == 1 {
            gauge!("banklink_worker_paused").set(0);
        }
    }

    async fn check(&self) -> Result<(), Unable> {
        self.publish.ready()?;
        self.consume.ready()?;
        Ok(self.store.probe().await?)
    }

    async fn wait(&self) {
        if self.check().await.is_ok() {
            return;
        }
        self.pause();
        let told = |cause: &Unable, pause: Duration| {
            if pause > Duration::from_secs(1) {
                warn!(%cause, "nothing is consumed: a dependency is away");
            }
        };
        reconnect::until_done(|| self.check(), told).await;
        self.resume();
    }
}

impl Worker {
    /// Consumes until `stop`, then finishes what is in hand.
    pub(super) async fn keep_consuming(&self, queue: &Loop, ability: &Ability, stop: &CancellationToken) {
        let mut pauses = reconnect::Pauses::default();
        while stop.run_until_cancelled(ability.wait()).await.is_some() {
            let mut consumer = match Consumer::open(&ability.consume, &queue.queue, queue.prefetch).await {
                Ok(consumer) => consumer,
                Err(cause) => {
                    warn!(queue = queue.queue, %cause, "cannot consume");
                    stop.run_until_cancelled(tokio::time::sleep(pauses.next_pause())).await;
                    continue;
                }
            };
            pauses = reconnect::Pauses::default();
            info!(queue = queue.queue, "consuming");
            queue.attached.set(true);
            let ended = self.drive(queue, &mut consumer, ability, stop).await;
            queue.attached.set(false);
            consumer.close().await;
            if ended.is_ok() {
                return;
            }
        }
    }

    async fn drive(
        &self,
        queue: &Loop,
        consumer: &mut Consumer,
        ability: &Ability,
        stop: &CancellationToken,
    ) -> Result<(), GaveUp> {
        while let Some(batch) = stop.run_until_cancelled(consumer.next_batch(queue.batch_size)).await {
            self.attend(queue.duty, consumer, &batch?, ability, stop).await?;
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
