//! The worker: applies webhooks from the work queue to `bank_links`, and records dead messages in `dead_letters`.
//!
//! One batch, in reading order: `consume` receives it, `in_flight` runs two at a time (`in_order`), and `batch` passes each through `parse`,
//! `write` (`isolate` writes the batch in as few parts as possible and finds a faulty delivery, `transaction` is one attempt),
//! `classify`, `settle` and `report`.
//! `dependency_gate` and `outage_backoff` hold work back while RabbitMQ or the database is unavailable.

mod batch;
mod classify;
mod consume;
mod dead_letter_gauges;
mod dependency_gate;
mod held;
mod in_flight;
mod in_order;
mod isolate;
mod outage_backoff;
mod panic_failure;
mod parse;
mod queue;
mod record_dead;
mod report;
mod settle;
mod spans;
mod transaction;
mod unknown_types;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use crate::broker::{Connection, Publisher};
use crate::readiness::{CachedCheck, Readiness, running};
use crate::store::handover::Handover;
use crate::store::{self, Store};
use dependency_gate::DependencyGate;
pub use held::HeldDeliveries;
pub use outage_backoff::BatchReleased;
use queue::{QueueConfig, QueueKind};
use unknown_types::UnknownTypes;
use write::Writer;

/// What the worker is configured with (docs/CONTRACT.md#3-settings).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Maximum number of deliveries in one transaction.
    pub batch_size: usize,
    /// Maximum number of unacknowledged deliveries.
    pub prefetch: u16,
    /// The CloudEvents `source`.
    pub event_source: String,
}

/// The connections that the worker consumes on. They are separate because losing a connection costs every unacknowledged
/// delivery on it one delivery count, and a dead message that lapin cannot decode closes its connection.
pub struct Connections {
    /// For the work queue.
    pub work: Connection,
    /// For the dead queue.
    pub dead: Connection,
}

/// The worker role.
pub struct Worker {
    settings: Settings,
    store: Store,
    /// The same database, for recording dead messages.
    record_store: Store,
    /// Publishes retry copies and dead messages.
    publisher: Publisher,
    connections: Connections,
    /// Hands events to a relay in the same process.
    handover: Arc<Handover>,
    gate: DependencyGate,
    database_check: CachedCheck,
    /// Whether a consumer is attached to the work queue.
    consumer_attached: AtomicBool,
    unknown_types: UnknownTypes,
    stop: CancellationToken,
}

impl Worker {
    /// A worker that runs until `stop` is cancelled.
    #[must_use]
    pub fn new(
        settings: Settings,
        store: Store,
        publisher: Publisher,
        connections: Connections,
        handover: Arc<Handover>,
        stop: CancellationToken,
    ) -> Self {
        let gate = DependencyGate::new(store.clone(), publisher.clone());
        Self {
            settings,
            record_store: store.clone(),
            store,
            publisher,
            connections,
            handover,
            gate,
            database_check: CachedCheck::default(),
            consumer_attached: AtomicBool::new(false),
            unknown_types: UnknownTypes::default(),
            stop,
        }
    }

    /// Consumes the work queue and the dead queue until `stop` is cancelled, then settles what is unacknowledged.
    pub async fn run(self: &Arc<Self>) {
        report::register_metrics();
        let topology = self.publisher.connection().topology();
        let work = QueueConfig {
            kind: QueueKind::Work,
            connection: &self.connections.work,
            name: topology.webhooks(),
            prefetch: self.settings.prefetch,
            batch_size: self.settings.batch_size,
        };
        let dead = QueueConfig {
            kind: QueueKind::Dead,
            connection: &self.connections.dead,
            name: topology.dead(),
            prefetch: record_dead::PREFETCH,
            batch_size: record_dead::BATCH_SIZE,
        };
        tokio::join!(self.consume(&work), self.consume(&dead), dead_letter_gauges::update(&self.store, &self.stop));
    }

    fn writer(&self) -> Writer {
        Writer {
            store: self.store.clone(),
            handover: Arc::clone(&self.handover),
            event_source: self.settings.event_source.clone(),
        }
    }

    /// Whether the worker can do its job: connected, attached to the work queue, and able to write to the database.
    pub async fn readiness(&self) -> Readiness {
        let attached = self.consumer_attached.load(Ordering::Relaxed);
        let database = async { self.store.close_idle_on_error(self.store.probe().await).await };
        let database = self.database_check.check(database, store::Error::class).await;
        Readiness::new("worker")
            .check("process", running(&self.stop))
            .check("broker", self.publisher.ready().map_err(|error| error.class()))
            .check("consuming", self.connections.work.ready().map_err(|error| error.class()))
            .check("consumer", if attached { Ok(()) } else { Err("no consumer is attached") })
            .check("database", database)
    }
}
