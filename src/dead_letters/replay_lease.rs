//! The lease under which one process at a time works on a replay, and what makes it stop.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::domain::replay::ReplayState;
use crate::failpoints::shortened_for_tests;
use crate::store::leases::{self, Acquired, VALIDITY};
use crate::store::replays::{self, lease_name};
use crate::store::{self, Store, with_deadline};

/// How often the lease is renewed, and how long that may take.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
const RENEW_DEADLINE: Duration = Duration::from_secs(5);
/// How often the state is read: a pause or a cancellation by another process is noticed within this time.
const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// Why work on a replay ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    /// This process was asked to pause the replay.
    Pause,
    /// This process was asked to leave the replay to another one.
    HandOver,
    /// Another process has paused, cancelled or deleted the replay.
    Withdrawn,
    /// The lease could not be renewed in time, or another process has taken it.
    LeaseLost,
}

/// A lease that this process holds.
pub(super) struct ReplayLease {
    store: Store,
    id: i64,
    pub(super) holder: String,
    valid_until: Instant,
}

impl ReplayLease {
    /// The lease of the replay `id`, which `holder` has taken after `begin`.
    pub(super) fn taken(store: &Store, id: i64, holder: String, begin: Instant) -> Self {
        Self { store: store.clone(), id, holder, valid_until: begin + VALIDITY }
    }

    /// Takes the lease, or returns the name of its holder.
    pub(super) async fn acquire(store: &Store, id: i64) -> Result<Result<Self, String>, store::Error> {
        let (holder, begin) = (leases::new_holder(), Instant::now());
        Ok(match leases::acquire(store, &lease_name(id), &holder).await? {
            Acquired::Taken => Ok(Self::taken(store, id, holder, begin)),
            Acquired::HeldBy(other) => Err(other),
        })
    }

    /// Renews the lease until something interrupts the work.
    pub(super) async fn keep(&mut self, pause: &CancellationToken, hand_over: &CancellationToken) -> Interruption {
        let mut renew_at = Instant::now() + shortened_for_tests(RENEW_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = hand_over.cancelled() => return Interruption::HandOver,
                () = pause.cancelled() => return Interruption::Pause,
                () = sleep(STATE_INTERVAL) => {}
            }
            match with_deadline(RENEW_DEADLINE, replays::load(&self.store, self.id)).await {
                Ok(Some(replay)) if replays::state(&replay) == Some(ReplayState::Running) => {}
                Ok(_) => return Interruption::Withdrawn,
                Err(cause) => warn!(%cause, replay.id = self.id, "cannot read the state of the replay"),
            }
            if Instant::now() < renew_at {
                continue;
            }
            let begin = Instant::now();
            let name = lease_name(self.id);
            match with_deadline(RENEW_DEADLINE, leases::renew(&self.store, &name, &self.holder)).await {
                Ok(true) => {
                    self.valid_until = begin + VALIDITY;
                    renew_at = begin + shortened_for_tests(RENEW_INTERVAL);
                }
                Err(cause) if Instant::now() < self.valid_until => {
                    warn!(%cause, replay.id = self.id, "cannot renew the lease of the replay");
                }
                _ => return Interruption::LeaseLost,
            }
        }
    }

    /// Ends the lease. If that fails, it expires.
    pub(super) async fn release(self) {
        let name = lease_name(self.id);
        if let Err(cause) = with_deadline(RENEW_DEADLINE, leases::release(&self.store, &name, &self.holder)).await {
            warn!(%cause, replay.id = self.id, "cannot release the lease of the replay; it expires after {VALIDITY:?}");
        }
    }
}
