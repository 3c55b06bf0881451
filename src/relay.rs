//! The relay: publishes events from the outbox.
//!
//! An event is deleted once RabbitMQ has confirmed it and has not returned it. A crash in between publishes it again under the
//! same id. Several relays can run side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::future::join_all;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::{self, Outgoing, Publisher};
use crate::failpoints::failpoint;
use crate::readiness::{CachedCheck, Readiness, running};
use crate::reconnect::Backoff;
use crate::store::outbox::{self, Claim, Due, PendingEvent};
use crate::store::{self, Store};

/// Maximum number of events in one claim.
const MAX_CLAIMED: u64 = 256;
/// How often the outbox is polled when no worker in this process writes events.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The poll interval while events arrive: a worker in another process cannot notify this relay.
const BUSY_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long after an event the shorter interval applies.
const BUSY_PERIOD: Duration = Duration::from_secs(2);
/// Maximum wait for the confirm of one event.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(5);
/// Maximum delay before a refused event is published again.
const MAX_REFUSED_DELAY: Duration = Duration::from_secs(60);
/// Maximum delay after no answer, which may be caused by one slow queue or by a broker that is about to recover.
const MAX_UNANSWERED_DELAY: Duration = Duration::from_secs(3);
/// How often the outbox is counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// The relay role.
pub struct Relay {
    store: Store,
    publisher: Publisher,
    /// Publishes deferred events. An event that RabbitMQ never answers costs its channel, so they have one of their own.
    deferred_publisher: Publisher,
    /// Notified by a worker in the same process when it has written events.
    events_written: Arc<Notify>,
    database_check: CachedCheck,
    /// Whether [`Relay::run`] has begun, and so the schema is there.
    started: AtomicBool,
    stop: CancellationToken,
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
    /// A relay that runs until `stop` is cancelled.
    #[must_use]
    pub fn new(
        store: Store,
        publisher: Publisher,
        deferred_publisher: Publisher,
        events_written: Arc<Notify>,
        stop: CancellationToken,
    ) -> Self {
        let (database_check, started) = (CachedCheck::default(), AtomicBool::new(false));
        Self { store, publisher, deferred_publisher, events_written, database_check, started, stop }
    }

    /// Publishes events until `stop` is cancelled, and finishes the current claim.
    pub async fn run(&self) {
        register_metrics();
        self.started.store(true, Ordering::Relaxed);
        tokio::join!(self.publish_all(Due::New), self.publish_all(Due::Deferred), self.update_gauges());
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

    async fn publish_all(&self, due: Due) {
        let (mut backoff, mut is_outage_logged, mut last_event) = (Backoff::default(), false, None::<Instant>);
        let until_connected = || self.stop.run_until_cancelled(self.publisher.connection().until_ready());
        while until_connected().await.is_some() && !self.stop.is_cancelled() {
            let delay = match self.step(due).await {
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
                match due {
                    Due::New => self.events_written.notified().await,
                    Due::Deferred => std::future::pending().await,
                }
            };
            let _ = self.stop.run_until_cancelled(tokio::time::timeout(delay, notified)).await;
        }
    }

    /// Claims, publishes and deletes up to 256 events; returns how many it claimed.
    ///
    /// # Errors
    /// [`Unavailable`] if the database or RabbitMQ is. Events that were published may be published again, under the same ids.
    pub async fn step(&self, due: Due) -> Result<usize, Unavailable> {
        let publisher = match due {
            Due::New => &self.publisher,
            Due::Deferred => &self.deferred_publisher,
        };
        publisher.connection().ready()?;
        let claim = outbox::claim(&self.store, due, MAX_CLAIMED).await?;
        if claim.events.is_empty() {
            return Ok(0);
        }
        let confirms = join_all(claim.events.iter().map(|event| publish(publisher, event))).await;
        failpoint("before deleting");
        let claimed = claim.events.len();
        settle_claim(claim, confirms).await?;
        Ok(claimed)
    }

    async fn update_gauges(&self) {
        loop {
            match outbox::backlog(&self.store).await {
                Ok((pending, oldest)) => {
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

/// Deletes confirmed events and defers those that were refused or not answered in time. Fails if others were not published.
async fn settle_claim(claim: Claim, confirms: Vec<Result<(), broker::Error>>) -> Result<(), Unavailable> {
    let (mut published, mut deferred, mut outage) = (Vec::new(), Vec::new(), None);
    for (event, confirm) in claim.events.iter().zip(confirms) {
        match confirm {
            Ok(()) => {
                record_published(event);
                published.push(event.id);
            }
            Err(cause) if cause.is_refusal() || matches!(cause, broker::Error::TimedOut) => {
                let max_delay = if cause.is_refusal() { MAX_REFUSED_DELAY } else { MAX_UNANSWERED_DELAY };
                let delay = deferral(event.refusals).min(max_delay);
                warn!(event.id = %event.id, event.refusals, retry_in = ?delay, %cause, "deferred an event");
                deferred.push((event.id, delay));
            }
            Err(cause) => outage = Some(cause),
        }
    }
    claim.finish(&published, &deferred).await?;
    outage.map_or(Ok(()), |cause| Err(cause.into()))
}

fn record_published(event: &PendingEvent) {
    let latency = (Utc::now() - event.received_at).to_std().unwrap_or_default();
    histogram!("banklink_link_latency_seconds").record(latency);
    counter!("banklink_events_published_total", "type" => event.event_type.clone()).increment(1);
    debug!(event.id = %event.id, event.event_type, "published an event");
}

async fn publish(publisher: &Publisher, event: &PendingEvent) -> Result<(), broker::Error> {
    let PendingEvent { id, event_type, routing_key, json, traceparent, .. } = event;
    let topology = publisher.connection().topology();
    let outgoing = Outgoing::event(topology, *id, event_type, routing_key, traceparent.as_deref(), json.clone());
    publisher.publish(outgoing, CONFIRM_DEADLINE).await
}

/// The delay of an event that was deferred that often before: 1 s, 2 s, 4 s, up to a minute.
fn deferral(refusals: i32) -> Duration {
    let doublings = u32::try_from(refusals.clamp(0, 10)).unwrap_or_default();
    Duration::from_secs(1 << doublings).min(MAX_REFUSED_DELAY)
}

/// Describes the relay's metrics and shows its counters from the start, at 0.
fn register_metrics() {
    describe_gauge!("banklink_outbox_pending", "Events that wait in the outbox.");
    describe_gauge!(
        "banklink_outbox_oldest_age_seconds",
        Unit::Seconds,
        "Age of the oldest event in the outbox; 0 without any."
    );
    describe_counter!("banklink_events_published_total", "Events that RabbitMQ confirmed, by type.");
    describe_histogram!(
        "banklink_link_latency_seconds",
        Unit::Seconds,
        "Time from the receipt of a webhook until RabbitMQ confirmed the event that it caused."
    );
    let _ = histogram!("banklink_link_latency_seconds");
    for event_type in ["customer.bank_linked", "customer.bank_link_updated", "customer.bank_reconnected"] {
        counter!("banklink_events_published_total", "type" => event_type).absolute(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_event_waits_longer_each_time_but_never_more_than_a_minute() {
        let delays = [0, 1, 2, 5, 6, 1_000].map(|refusals| deferral(refusals).as_secs());
        assert_eq!(delays, [1, 2, 4, 32, 60, 60]);
    }
}
