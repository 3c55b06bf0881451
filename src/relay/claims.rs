//! Claims events, publishes them, and deletes or defers them.

use std::time::Instant;

use chrono::Utc;
use futures_util::future::OptionFuture;
use tracing::{debug, warn};

use super::claim_start::Start;
use super::publish::{Published, deferral, max_deferral, publish_all};
use super::report::record_published;
use super::{Relay, Unavailable};
use crate::broker::{self, Publisher};
use crate::failpoints::failpoint;
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

    /// Publishes what workers of this process hand over, until `stop` is cancelled and nothing more can come.
    ///
    /// Events that cannot be published now are released, for a claim to publish them.
    pub(super) async fn publish_handed_over(&self, mut handed_over: HandedOver) {
        // Its own clone: how long a transaction may take depends on the one before.
        let store = self.store.clone();
        let mut is_closed = false;
        loop {
            tokio::select! {
                claim = handed_over.next(&store) => {
                    let Some(claim) = claim else { return };
                    let oldest = claim.events.first().map(|event| event.created_at);
                    if let Err(cause) = publish_and_settle(&self.handed_over_publisher, claim, |_| {}).await {
                        debug!(%cause, "events that were handed over will be claimed");
                        self.claim_start().look_back_to(oldest);
                    }
                }
                () = self.stop.cancelled(), if !is_closed => {
                    handed_over.close();
                    is_closed = true;
                }
            }
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

/// Publishes the claimed events, passes what became of them to `observe`, deletes those that were confirmed and defers those that
/// were refused or not answered in time. Fails if others were not published.
async fn publish_and_settle(
    publisher: &Publisher,
    mut claim: Claim,
    observe: impl FnOnce(&Published<'_>),
) -> Result<(), Unavailable> {
    if claim.events.is_empty() {
        return Ok(());
    }
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
    let deferred: Vec<_> = deferred.collect();
    claim.finish(&confirmed.iter().map(|event| event.id).collect::<Vec<_>>(), &deferred).await?;
    outage.map_or(Ok(()), |cause| Err(cause.into()))
}
