//! The relay: publishes events from the outbox, and those that workers of its own process hand over.
//!
//! An event is deleted once RabbitMQ has confirmed it and has not returned it. A crash in between publishes it again under the
//! same id. Several relays can run side by side.

mod claim_start;
mod claims;
mod publish;
mod report;
mod type_gates;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::{self, Publisher};
use crate::readiness::{CachedCheck, Readiness, running};
use crate::reconnect::Backoff;
use crate::store::handover::Handover;
use crate::store::outbox_counts::{Backlog, backlog};
use crate::store::{self, Store};
use claim_start::ClaimStart;
use report::register_metrics;
use type_gates::TypeGates;

/// How often the outbox is polled when no worker in this process writes events.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The poll interval while events arrive: a worker in another process cannot notify this relay.
const BUSY_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long after an event the shorter interval applies.
const BUSY_PERIOD: Duration = Duration::from_secs(2);
/// How often the outbox is counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// The relay role.
pub struct Relay {
    store: Store,
    /// The same database, for deferred events.
    deferred_store: Store,
    publisher: Publisher,
    /// Publishes events that were handed over. An event that makes RabbitMQ close the channel is looked for among those that were
    /// published together, so each loop has a channel of its own.
    handed_over_publisher: Publisher,
    /// Publishes deferred events. An event that RabbitMQ never answers costs its channel.
    deferred_publisher: Publisher,
    /// From the workers in the same process.
    handover: Arc<Handover>,
    claim_start: Mutex<ClaimStart>,
    /// How many deferred events of each type may go.
    gates: TypeGates,
    database_check: CachedCheck,
    /// Whether [`Relay::run`] has begun, and so the schema is there.
    started: AtomicBool,
    stop: CancellationToken,
}

/// Which events a step publishes. Deferred events have a loop and a channel of their own, so that they hold up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// Events that were never deferred.
    New,
    /// Events that were refused or not answered in time, and whose delay is over.
    Deferred,
}

/// A dependency that is unavailable. Nothing is lost; what was published may be published again.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The database.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// RabbitMQ.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

impl Relay {
    /// A relay that runs until `stop` is cancelled. `publisher` returns one with a channel of its own at each call.
    pub fn new(
        store: Store,
        publisher: impl Fn() -> Publisher,
        handover: Arc<Handover>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            deferred_store: store.clone(),
            store,
            publisher: publisher(),
            handed_over_publisher: publisher(),
            deferred_publisher: publisher(),
            handover,
            claim_start: Mutex::default(),
            gates: TypeGates::default(),
            database_check: CachedCheck::default(),
            started: AtomicBool::new(false),
            stop,
        }
    }

    /// Publishes events until `stop` is cancelled, and finishes the current claim.
    pub async fn run(&self) {
        register_metrics();
        self.started.store(true, Ordering::Relaxed);
        let handed_over = self.handover.receive();
        tokio::join!(
            self.publish_handed_over(handed_over),
            self.run_loop(Events::New),
            self.run_loop(Events::Deferred),
            self.update_gauges()
        );
    }

    /// Whether the relay can do its job: started, connected, and able to delete from the outbox.
    pub async fn readiness(&self) -> Readiness {
        let started = self.started.load(Ordering::Relaxed);
        let database = async { self.store.close_idle_on_error(self.store.probe_outbox().await).await };
        let database = self.database_check.check(database, store::Error::class).await;
        Readiness::new("relay")
            .check("process", running(&self.stop))
            .check("schema", if started { Ok(()) } else { Err("waiting for the database and its schema") })
            .check("broker", self.publisher.ready().map_err(|error| error.class()))
            .check("database", database)
    }

    async fn run_loop(&self, events: Events) {
        let (mut backoff, mut is_outage_logged, mut last_event) = (Backoff::default(), false, None::<Instant>);
        let until_connected = || self.stop.run_until_cancelled(self.publisher.connection().until_ready());
        while until_connected().await.is_some() && !self.stop.is_cancelled() {
            let delay = match self.step(events).await {
                Ok(0) => {
                    is_outage_logged = false;
                    let is_busy = last_event.is_some_and(|at| at.elapsed() < BUSY_PERIOD);
                    if is_busy { BUSY_POLL_INTERVAL } else { POLL_INTERVAL }
                }
                Ok(_) => {
                    (backoff, is_outage_logged, last_event) = (Backoff::default(), false, Some(Instant::now()));
                    continue;
                }
                Err(cause) => {
                    if !std::mem::replace(&mut is_outage_logged, true) {
                        warn!(%cause, "events wait: a dependency is unavailable");
                    }
                    self.stop.run_until_cancelled(tokio::time::sleep(backoff.next_delay())).await;
                    // After the delay, because only then the connection that failed is idle again. It may lead to a server that
                    // has become read-only.
                    if matches!(cause, Unavailable::Database(_)) {
                        self.store.close_idle_connections().await;
                    }
                    continue;
                }
            };
            let notified = async {
                match events {
                    Events::New => self.handover.until_claimable().await,
                    Events::Deferred => std::future::pending().await,
                }
            };
            let _ = self.stop.run_until_cancelled(tokio::time::timeout(delay, notified)).await;
        }
    }

    /// Claims, publishes and deletes events, and returns how many it claimed: new ones in claims of up to 512, until one is not full (on
    /// SQLite one claim); deferred ones in one claim of up to 512 for each type.
    ///
    /// # Errors
    /// [`Unavailable`] if the database or RabbitMQ is. Events that were published may be published again, under the same ids.
    pub async fn step(&self, events: Events) -> Result<usize, Unavailable> {
        match events {
            Events::New => self.publish_new().await,
            Events::Deferred => self.publish_deferred().await,
        }
    }

    fn claim_start(&self) -> MutexGuard<'_, ClaimStart> {
        self.claim_start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn update_gauges(&self) {
        loop {
            match backlog(&self.store).await {
                Ok(Backlog { pending, oldest, oldest_new }) => {
                    self.claim_start().look_back_to(oldest_new);
                    let age = oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds().max(0));
                    gauge!("banklink_outbox_pending").set(u32::try_from(pending).unwrap_or(u32::MAX));
                    gauge!("banklink_outbox_oldest_age_seconds").set(u32::try_from(age).unwrap_or(u32::MAX));
                }
                Err(cause) => debug!(%cause, "cannot count the outbox"),
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(COUNT_INTERVAL)).await.is_none() {
                return;
            }
        }
    }
}
