//! The relay: events out of the outbox, to whoever has subscribed.
//!
//! Each one is deleted once RabbitMQ has confirmed it and did not send it back; dying in between publishes it again under the
//! same id. Several relays side by side do no harm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::future::join_all;
use metrics::{counter, gauge, histogram};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::{self, Outgoing, Publisher};
use crate::failpoints;
use crate::reconnect::Backoff;
use crate::store::outbox::{self, Claim, Pending, Queue};
use crate::store::{self, Store};

/// Events in one claim, at most.
const MAX_CLAIMED: u64 = 256;
/// How often the outbox is looked at when nobody says that something was written.
const POLL: Duration = Duration::from_millis(200);
/// How often while events come: a worker in another process cannot say that it wrote one.
const POLL_EAGERLY: Duration = Duration::from_millis(10);
/// For how long after an event more are expected.
const MORE_MAY_COME: Duration = Duration::from_secs(2);
/// The longest wait for the confirm of one event.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(5);
/// The longest pause before a refused event is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause after no answer at all: that may be one queue in trouble, or a broker that is about to be well again.
const LONGEST_PAUSE_UNANSWERED: Duration = Duration::from_secs(3);
/// How often the outbox is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// What the relay works with.
pub struct Relay {
    /// The database.
    pub store: Store,
    /// Where events go.
    pub publisher: Publisher,
    /// Where those go that were put off, on a channel of their own: one that never answers costs its channel.
    pub deferred_publisher: Publisher,
    /// Told by a worker in the same process whenever it has written an event.
    pub events_written: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
enum Away {
    #[error(transparent)]
    Database(#[from] store::Error),
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// Relays until `stop`; what is in hand is finished.
pub async fn run(relay: Relay, stop: CancellationToken) {
    register_metrics();
    tokio::join!(
        relay.keep_publishing(Queue::New, &stop),
        relay.keep_publishing(Queue::Deferred, &stop),
        relay.keep_counting(&stop),
    );
}

impl Relay {
    async fn keep_publishing(&self, queue: Queue, stop: &CancellationToken) {
        let (mut pauses, mut told_away, mut last_event) = (Backoff::default(), false, None::<Instant>);
        let until_connected = || stop.run_until_cancelled(self.publisher.connection().until_ready());
        while until_connected().await.is_some() && !stop.is_cancelled() {
            let wait = match self.step(queue).await {
                Ok(0) => {
                    told_away = false;
                    if last_event.is_some_and(|at| at.elapsed() < MORE_MAY_COME) { POLL_EAGERLY } else { POLL }
                }
                Ok(_) => {
                    (pauses, told_away, last_event) = (Backoff::default(), false, Some(Instant::now()));
                    continue;
                }
                Err(cause) => {
                    if !std::mem::replace(&mut told_away, true) {
                        warn!(%cause, "events wait: a dependency is away");
                    }
                    if matches!(cause, Away::Database(_)) {
                        self.store.renew().await;
                    }
                    pauses.next_delay()
                }
            };
            let told = async {
                match queue {
                    Queue::New => self.events_written.notified().await,
                    Queue::Deferred => std::future::pending().await,
                }
            };
            let _ = stop.run_until_cancelled(tokio::time::timeout(wait, told)).await;
        }
    }

    /// Claims, publishes, and settles one round; how many events it claimed.
    ///
    /// # Errors
    /// When a dependency is away; nothing is lost, what was published may be published again.
    async fn step(&self, queue: Queue) -> Result<usize, Away> {
        let publisher = match queue {
            Queue::New => &self.publisher,
            Queue::Deferred => &self.deferred_publisher,
        };
        publisher.connection().ready()?;
        let claim = store::with_deadline(store::DEADLINE, outbox::claim(&self.store, queue, MAX_CLAIMED)).await?;
        if claim.events.is_empty() {
            return Ok(0);
        }
        let verdicts = join_all(claim.events.iter().map(|event| publish(publisher, event))).await;
        failpoints::failpoint("before deleting");
        let claimed = claim.events.len();
        let away = self.settle(claim, verdicts).await?;
        away.map_or(Ok(claimed), |cause| Err(cause.into()))
    }

    /// Deletes what is published and puts off what was refused. The rest met a broker that was away: why.
    async fn settle(
        &self,
        claim: Claim,
        verdicts: Vec<Result<(), broker::Error>>,
    ) -> Result<Option<broker::Error>, store::Error> {
        let (mut published, mut deferred, mut away) = (Vec::new(), Vec::new(), None);
        for (event, verdict) in claim.events.iter().zip(verdicts) {
            match verdict {
                Ok(()) => {
                    tell(event);
                    published.push(event.id);
                }
                Err(cause) if cause.is_refusal() || matches!(cause, broker::Error::TimedOut) => {
                    let longest = if cause.is_refusal() { LONGEST_PAUSE } else { LONGEST_PAUSE_UNANSWERED };
                    let pause = pause(event.refusals).min(longest);
                    warn!(event.id = %event.id, event.refusals, ?pause, %cause, "an event is put off");
                    deferred.push((event.id, pause));
                }
                Err(cause) => away = Some(cause),
            }
        }
        store::with_deadline(store::DEADLINE, claim.finish(&published, &deferred)).await?;
        Ok(away)
    }

    async fn keep_counting(&self, stop: &CancellationToken) {
        loop {
            match store::with_deadline(store::DEADLINE, outbox::backlog(&self.store)).await {
                Ok((pending, oldest)) => {
                    let age = oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds().max(0));
                    gauge!("banklink_outbox_pending").set(u32::try_from(pending).unwrap_or(u32::MAX));
                    gauge!("banklink_outbox_oldest_age_seconds").set(u32::try_from(age).unwrap_or(u32::MAX));
                }
                Err(cause) => debug!(%cause, "cannot count the outbox"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(COUNT_EVERY)).await.is_none() {
                return;
            }
        }
    }
}

fn tell(event: &Pending) {
    let latency = (Utc::now() - event.received_at).to_std().unwrap_or_default();
    histogram!("banklink_link_latency_seconds").record(latency);
    counter!("banklink_events_published_total", "type" => event.event_type.clone()).increment(1);
    debug!(event.id = %event.id, event.event_type, "published an event");
}

async fn publish(publisher: &Publisher, event: &Pending) -> Result<(), broker::Error> {
    let Pending { id, event_type, routing_key, json, traceparent, .. } = event;
    let topology = publisher.connection().topology();
    let outgoing = Outgoing::event(topology, *id, event_type, routing_key, traceparent.as_deref(), json.clone());
    publisher.publish(outgoing, CONFIRM_DEADLINE).await
}

/// 1 s, 2 s, 4 s … up to a minute, after that many refusals before this one.
fn pause(refusals: i32) -> Duration {
    let doublings = u32::try_from(refusals.clamp(0, 10)).unwrap_or_default();
    Duration::from_secs(1 << doublings).min(LONGEST_PAUSE)
}

/// Shows the metrics from the start, at 0.
fn register_metrics() {
    for event_type in ["customer.bank_linked", "customer.bank_link_updated", "customer.bank_reconnected"] {
        counter!("banklink_events_published_total", "type" => event_type).absolute(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_event_waits_longer_each_time_but_never_more_than_a_minute() {
        let pauses: Vec<u64> = [0, 1, 2, 5, 6, 1_000].into_iter().map(|refusals| pause(refusals).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60]);
    }
}
