//! Claims events, publishes them, and deletes or defers them.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::OptionFuture;
use tracing::{debug, warn};
use uuid::Uuid;

use super::claim_start::Start;
use super::publish::{Published, deferral, max_deferral, publish_all};
use super::report::record_published;
use super::{Relay, Unavailable};
use crate::broker::{self, Publisher};
use crate::failpoints::failpoint;
use crate::store::Store;
use crate::store::handover::HandedOver;
use crate::store::outbox_claims::{self, Claim, Due};
use crate::telemetry::trace_id;

/// Maximum number of events in one claim.
const MAX_CLAIMED: u64 = 512;
/// Maximum number of event types among the deferred events that are looked at together. There are three.
const MAX_TYPES: usize = 16;

impl Relay {
    /// Publishes new events, claim by claim, until a claim is not full. On PostgreSQL the next claim is made while one is published: its
    /// locks keep them apart. Only one is published at a time, because an event that makes RabbitMQ close the channel is looked
    /// for among those that were published together.
    pub(super) async fn publish_new(&self) -> Result<usize, Unavailable> {
        let (mut claimed, mut next) = (0, Some(self.claim_new().await?));
        while let Some((claim, start)) = next {
            claimed += claim.events.len();
            let goes_on = is_full(&claim) && claim.is_locked() && !self.stop.is_cancelled();
            let (settled, following) = tokio::join!(
                publish_and_settle(&self.publisher, claim, |_| {}),
                OptionFuture::from(goes_on.then(|| self.claim_new()))
            );
            settled.inspect_err(|_| self.claim_start().released(start))?;
            next = following.transpose()?;
        }
        Ok(claimed)
    }

    /// Claims new events, and notes where the next claim starts.
    async fn claim_new(&self) -> Result<(Claim, Start), Unavailable> {
        self.publisher.connection().ready()?;
        let start = self.claim_start().next(Instant::now(), Utc::now());
        let claim = outbox_claims::claim(&self.store, Due::New(start.from), MAX_CLAIMED).await?;
        // Without locks, an event may be claimed again until it is deleted.
        if claim.is_locked() {
            let last = claim.events.last().map(|event| event.created_at);
            self.claim_start().claimed(start, last, is_full(&claim), Instant::now());
        }
        Ok((claim, start))
    }

    /// Publishes what workers of this process hand over, until `stop` is cancelled and nothing more can come. The next events are
    /// published while those before are settled, because the database may take as long for that as RabbitMQ to confirm them.
    ///
    /// Events that cannot be published now are released, for a claim to publish them.
    pub(super) async fn publish_handed_over(&self, mut handed_over: HandedOver) {
        // Its own clone: how long a transaction may take depends on the one before.
        let store = self.store.clone();
        let mut before = None;
        loop {
            let settle_before = OptionFuture::from(before.take().map(|published| self.settle_handed_over(published)));
            let (published, _) = tokio::join!(self.publish_next(&mut handed_over, &store), settle_before);
            if published.is_none() {
                return;
            }
            before = published;
        }
    }

    /// Waits for events that are handed over, and publishes them; `None` once there will be no more.
    async fn publish_next(&self, handed_over: &mut HandedOver, store: &Store) -> Option<PublishedClaim> {
        let claim = match self.stop.run_until_cancelled(handed_over.next(store)).await {
            Some(claim) => claim,
            None => {
                handed_over.close();
                handed_over.next(store).await
            }
        };
        Some(publish(&self.handed_over_publisher, claim?, |_| {}).await)
    }

    async fn settle_handed_over(&self, published: PublishedClaim) {
        let oldest = published.oldest;
        if let Err(cause) = published.settle().await {
            debug!(%cause, "events that were handed over will be claimed");
            self.claim_start().look_back_to(oldest);
        }
    }

    /// Publishes deferred events that are due, of each type as many as its gate lets through.
    pub(super) async fn publish_deferred(&self) -> Result<usize, Unavailable> {
        let (mut claimed, mut last_type) = (0, String::new());
        for _ in 0..MAX_TYPES {
            self.deferred_publisher.connection().ready()?;
            let Some(event_type) = outbox_claims::next_deferred_type(&self.deferred_store, &last_type).await? else {
                break;
            };
            let limit = self.gates.limit(&event_type, MAX_CLAIMED);
            if limit > 0 {
                let claim = outbox_claims::claim(&self.deferred_store, Due::Deferred(&event_type), limit).await?;
                claimed += claim.events.len();
                let update_gate = |published: &Published<'_>| self.update_gate(&event_type, published);
                publish_and_settle(&self.deferred_publisher, claim, update_gate).await?;
            }
            last_type = event_type;
        }
        Ok(claimed)
    }

    /// An event that is at fault itself says nothing about the others.
    fn update_gate(&self, event_type: &str, published: &Published<'_>) {
        let is_of_its_queues = |cause: &&broker::Error| !matches!(cause, broker::Error::Precondition(_));
        match published.refused.iter().map(|(_, cause)| cause).find(is_of_its_queues) {
            Some(cause) => self.gates.refused(event_type, max_deferral(cause)),
            None if published.confirmed.is_empty() => {}
            None => self.gates.taken(event_type),
        }
    }
}

fn is_full(claim: &Claim) -> bool {
    claim.events.len() as u64 >= MAX_CLAIMED
}

/// A claim whose events were published, as far as that was possible, and what is to become of each in the outbox.
struct PublishedClaim {
    claim: Claim,
    /// When the oldest of the events was appended.
    oldest: Option<DateTime<Utc>>,
    confirmed: Vec<Uuid>,
    deferred: Vec<(Uuid, Duration)>,
    /// Why the rest could not be published.
    outage: Option<broker::Error>,
}

/// Publishes the claimed events, and passes what became of them to `observe`.
async fn publish(publisher: &Publisher, mut claim: Claim, observe: impl FnOnce(&Published<'_>)) -> PublishedClaim {
    let events = std::mem::take(&mut claim.events);
    let published = publish_all(publisher, &events).await;
    failpoint("before deleting");
    observe(&published);
    let Published { confirmed, refused, outage } = published;
    confirmed.iter().copied().for_each(record_published);
    let deferred = refused.iter().map(|(event, cause)| {
        let delay = deferral(event.refusals, cause);
        let (trace_id, entity_id) = (trace_id(event.traceparent.as_deref()), event.entity_id);
        warn!(event.id = %event.id, trace.id = trace_id, bank_link.entity_id = %entity_id, event.refusals, retry_in = ?delay, %cause,
            "deferred an event");
        (event.id, delay)
    });
    let (deferred, confirmed) = (deferred.collect(), confirmed.iter().map(|event| event.id).collect());
    PublishedClaim { claim, oldest: events.first().map(|event| event.created_at), confirmed, deferred, outage }
}

impl PublishedClaim {
    /// Deletes the events that were confirmed, and defers those that were refused or not answered in time. Fails if others were not
    /// published.
    async fn settle(self) -> Result<(), Unavailable> {
        self.claim.finish(&self.confirmed, &self.deferred).await?;
        self.outage.map_or(Ok(()), |cause| Err(cause.into()))
    }
}

/// Publishes the events of a claim, if it has any, and settles them.
async fn publish_and_settle(
    publisher: &Publisher,
    claim: Claim,
    observe: impl FnOnce(&Published<'_>),
) -> Result<(), Unavailable> {
    if claim.events.is_empty() {
        return Ok(());
    }
    publish(publisher, claim, observe).await.settle().await
}
