//! The worker: webhooks off the queue, into the bank links, batch by batch; and dead messages into their table.

mod ability;
mod apply;
mod census;
mod consume;
mod decide;
mod patience;
mod record;
mod settle;
mod transact;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{counter, gauge, histogram};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{Connection, Consumer, Delivery, Publisher};
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{IGNORED_TYPES, OTHER_TYPE};
use crate::failpoints;
use crate::store::Store;
use ability::{Ability, GaveUp};
use consume::{Duty, Loop};
use decide::decide;
use patience::Patience;
use settle::tell;

/// What the worker has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Deliveries in one transaction, at most.
    pub batch_size: usize,
    /// Deliveries in hand, at most.
    pub prefetch: u16,
    /// The CloudEvents `source`.
    pub event_source: String,
}

/// What the worker works with.
pub struct Worker {
    /// Its settings.
    pub settings: Settings,
    /// The database.
    pub store: Store,
    /// Where retry copies and dead messages go.
    pub publisher: Publisher,
    /// Told whenever an event was written, for a relay in the same process.
    pub events_written: Arc<Notify>,
}

/// The connections that the worker consumes on. They are two, because what breaks the one must not break the other: each time
/// a connection is lost, everything in hand on it is counted as delivered once more.
pub struct Connections {
    /// For webhooks.
    pub work: Connection,
    /// For dead messages.
    pub dead: Connection,
}

/// Whether the worker is attached to its queue. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Attached(Arc<AtomicBool>);

impl Attached {
    /// Whether it is, as a probe asks.
    ///
    /// # Errors
    /// When it is not.
    pub fn answer(&self) -> Result<(), &'static str> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("no consumer is attached") }
    }

    /// Attached until the answer is dropped, however that comes about.
    fn hold(&self) -> impl Drop + use<> {
        struct Hold(Arc<AtomicBool>);
        impl Drop for Hold {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        self.0.store(true, Ordering::Relaxed);
        Hold(Arc::clone(&self.0))
    }
}

/// Consumes both queues over `links` until `stop`; then finishes what is in hand.
pub async fn run(worker: Worker, links: Connections, attached: Attached, stop: CancellationToken) {
    register_metrics();
    let topology = Arc::clone(links.work.topology());
    let ability = Ability::new(worker.store.clone(), worker.publisher.clone());
    let work = Loop {
        duty: Duty::Handle,
        link: links.work,
        queue: topology.webhooks(),
        prefetch: worker.settings.prefetch,
        batch_size: worker.settings.batch_size,
        attached,
    };
    let record = Loop {
        duty: Duty::Record,
        link: links.dead,
        queue: topology.dead(),
        prefetch: record::PREFETCH,
        batch_size: record::BATCH_SIZE,
        attached: Attached::default(),
    };
    tokio::join!(
        worker.keep_consuming(&work, &ability, &stop),
        worker.keep_consuming(&record, &ability, &stop),
        census::keep(&worker.store, &stop),
    );
}

impl Worker {
    /// Handles one batch from start to finish: apply, decide, settle.
    ///
    /// # Errors
    /// [`GaveUp`] when a dependency was away too long; what is unsettled comes back.
    async fn handle(
        &self,
        consumer: &mut Consumer,
        batch: &[Delivery],
        ability: &Ability,
        stop: &CancellationToken,
    ) -> Result<(), GaveUp> {
        let began = std::time::Instant::now();
        let mut patience = Patience::new(ability, stop);
        let messages: Vec<_> = batch.iter().map(|delivery| &delivery.message).collect();
        let handled = loop {
            match self.apply(&messages).await {
                Ok(handled) => break handled,
                Err(away) => patience.wait(&away, consumer).await?,
            }
        };
        let (schedule, now) = (self.publisher.connection().topology().schedule(), Timestamp::now());
        let decided = handled.into_iter().zip(batch);
        let mut unsettled: Vec<_> = decided
            .map(|(handled, delivery)| (delivery, decide(handled, delivery.message.attempt, schedule, now)))
            .inspect(|(delivery, disposition)| tell(delivery, disposition))
            .collect();
        failpoints::failpoint("before settling");
        while let Some(away) = self.settle(consumer, &mut unsettled).await? {
            patience.wait(&away, consumer).await.inspect_err(|GaveUp| ability.owe_copies())?;
        }
        histogram!("banklink_worker_batch_size").record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        histogram!("banklink_worker_batch_duration_seconds").record(began.elapsed());
        Ok(())
    }
}

/// Shows the metrics from the start, at 0.
fn register_metrics() {
    for outcome in ["applied", "stale", "ignored", "retried", "dead"] {
        counter!("banklink_worker_deliveries_total", "outcome" => outcome).absolute(0);
    }
    for event_type in IGNORED_TYPES.into_iter().chain([OTHER_TYPE]) {
        counter!("banklink_worker_ignored_total", "type" => event_type).absolute(0);
    }
    gauge!("banklink_worker_paused").set(0);
}
