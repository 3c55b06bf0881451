//! The worker: webhooks off the queue, into the bank links, batch by batch; and dead messages into their table.

mod apply;
mod census;
mod consume;
mod decide;
mod patience;
mod record;
mod settle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{counter, gauge};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{Link, Publisher};
use crate::domain::webhook::PUBLISHED_TYPES;
use crate::store::Store;
use consume::{Ability, Duty, Loop};

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

    fn set(&self, attached: bool) {
        self.0.store(attached, Ordering::Relaxed);
    }
}

/// Consumes both queues over `link` until `stop`; then finishes what is in hand.
pub async fn run(worker: Worker, link: Link, attached: Attached, stop: CancellationToken) {
    register_metrics();
    let topology = Arc::clone(link.topology());
    let ability = Ability::new(worker.store.clone(), worker.publisher.link().clone(), link.clone());
    let work = Loop {
        duty: Duty::Handle,
        queue: topology.webhooks(),
        prefetch: worker.settings.prefetch,
        batch_size: worker.settings.batch_size,
        attached,
    };
    let record = Loop {
        duty: Duty::Record,
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

/// Shows the metrics from the start, at 0.
fn register_metrics() {
    for outcome in ["applied", "stale", "ignored", "retried", "dead"] {
        counter!("banklink_worker_deliveries_total", "outcome" => outcome).absolute(0);
    }
    for event_type in PUBLISHED_TYPES.iter().filter(|event_type| decide::is_ignored(event_type)) {
        counter!("banklink_worker_ignored_total", "type" => *event_type).absolute(0);
    }
    gauge!("banklink_worker_paused").set(0);
}
