//! Hands events to the relay of the process that wrote them, so that it need not read them back.
//!
//! They are in the outbox like all others, under a lease: until it ends, no relay can claim them. The relay publishes them meanwhile
//! and deletes those rows that still have that lease. If the process is killed, any relay claims them once the lease has ended. If
//! the relay falls behind, or there is none in this process, events are written without a lease, for any relay to claim.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio::sync::{Notify, mpsc};

use super::Store;
use super::outbox::NewEvent;
use super::outbox_claims::{Claim, PendingEvent};

/// How long no other relay can claim the events.
const LEASE: TimeDelta = TimeDelta::seconds(10);
/// What must be left of a lease when the relay begins to publish: RabbitMQ may take 5 s to confirm, while the database deletes the events
/// before, and then the database its time to delete these. If it takes longer, other relays publish them again.
const MIN_REMAINING: TimeDelta = TimeDelta::seconds(7);
/// Maximum number of transactions whose events wait for the relay: no more than it publishes while their leases allow.
const MAX_WAITING: usize = 8;
/// Maximum number of events that the relay publishes together, unless one transaction wrote more.
const MAX_TOGETHER: usize = 512;

/// The way from the workers of a process to its relay.
#[derive(Default)]
pub struct Handover {
    relay: Mutex<Option<mpsc::Sender<Leased>>>,
    /// Notified when events were written that any relay can claim.
    claimable: Notify,
}

/// The events of one transaction.
struct Leased {
    events: Vec<PendingEvent>,
    until: DateTime<Utc>,
}

impl Handover {
    /// Takes the relay's end; from now on events are handed over. The end of an earlier relay gets no more.
    #[must_use]
    pub fn receive(&self) -> HandedOver {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        HandedOver { receiver, next: None }
    }

    /// Reserves a place for the events of a transaction that is about to begin. `None` without a relay that could take them.
    #[must_use]
    pub fn reserve(&self) -> Option<Reservation> {
        let sender = self.relay.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let place = sender.try_reserve_owned().ok()?;
        // As the database stores it: rows are found by it.
        Some(Reservation { place, until: (Utc::now() + LEASE).trunc_subsecs(6) })
    }

    /// Tells the relay of this process that there are events to claim.
    pub fn notify_claimable(&self) {
        self.claimable.notify_one();
    }

    /// Completes when there are events to claim.
    pub async fn until_claimable(&self) {
        self.claimable.notified().await;
    }
}

/// A place for the events of one transaction.
pub struct Reservation {
    place: mpsc::OwnedPermit<Leased>,
    until: DateTime<Utc>,
}

impl Reservation {
    /// The lease to write the events with.
    #[must_use]
    pub fn leased_until(&self) -> DateTime<Utc> {
        self.until
    }

    /// Hands over the events, which must be committed.
    pub fn hand_over(self, events: Vec<NewEvent>) {
        let reserved_at = self.until - LEASE;
        let events = events.into_iter().map(|event| pending(event, reserved_at)).collect();
        self.place.send(Leased { events, until: self.until });
    }
}

/// The relay's end.
pub struct HandedOver {
    receiver: mpsc::Receiver<Leased>,
    /// Received, but too many to be published with those before.
    next: Option<Leased>,
}

impl HandedOver {
    /// The events that were handed over since the last call, as many as are published together; waits for the first. `None` after
    /// [`HandedOver::close`], when all were returned.
    pub async fn next(&mut self, store: &Store) -> Option<Claim> {
        loop {
            let first = match self.next.take() {
                Some(leased) => leased,
                None => self.receiver.recv().await?,
            };
            let claim = self.with_more(first, store);
            if !claim.events.is_empty() {
                return Some(claim);
            }
        }
    }

    /// Takes no more. Places that are reserved already can still be used.
    pub fn close(&mut self) {
        self.receiver.close();
    }

    /// Leaves out events whose lease ends too soon: they will be claimed.
    fn with_more(&mut self, first: Leased, store: &Store) -> Claim {
        let (mut events, mut leases) = (Vec::new(), Vec::new());
        let earliest = Utc::now() + MIN_REMAINING;
        let mut following = Some(first);
        while let Some(leased) = following {
            if leased.until >= earliest {
                if !events.is_empty() && events.len() + leased.events.len() > MAX_TOGETHER {
                    self.next = Some(leased);
                    break;
                }
                events.extend(leased.events);
                leases.push(leased.until);
            }
            following = self.receiver.try_recv().ok();
        }
        Claim::leased(store, events, leases)
    }
}

/// `created_at` is not later than that of the row.
fn pending(new: NewEvent, created_at: DateTime<Utc>) -> PendingEvent {
    let NewEvent { event, received_at, traceparent } = new;
    PendingEvent {
        id: event.id,
        event_type: event.event_type.to_owned(),
        routing_key: event.event_type.to_owned(),
        entity_id: event.entity_id,
        json: event.json,
        traceparent,
        received_at: received_at.to_micros(),
        refusals: 0,
        created_at,
    }
}
