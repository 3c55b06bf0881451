//! The lease that lets one process at a time reconcile. It saves Lean's API and the broker double work; two processes at once would
//! do no harm, because a webhook that is sent twice is merged twice.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::error::Error;
use crate::failpoints::shortened_for_tests;
use crate::store::leases::{self, Acquired, VALIDITY};
use crate::store::{Store, with_deadline};

const NAME: &str = "reconcile";
/// How often the lease is renewed, how long that may take, and when it is tried again.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
const RENEW_DEADLINE: Duration = Duration::from_secs(5);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A lease that this process holds.
pub(super) struct Lease {
    store: Store,
    holder: String,
    valid_until: Instant,
}

impl Lease {
    /// Takes the lease. Fails with [`Error::HeldBy`] if another process has it.
    pub(super) async fn acquire(store: &Store) -> Result<Self, Error> {
        let holder = leases::new_holder();
        let begin = Instant::now();
        match leases::acquire(store, NAME, &holder).await? {
            Acquired::Taken => Ok(Self { store: store.clone(), holder, valid_until: begin + VALIDITY }),
            Acquired::HeldBy(other) => Err(Error::HeldBy(other)),
        }
    }

    /// Renews the lease until that fails for too long, or another process has taken it.
    pub(super) async fn keep(&mut self) -> Error {
        let interval = shortened_for_tests(RENEW_INTERVAL);
        let mut delay = interval;
        loop {
            sleep(delay).await;
            let begin = Instant::now();
            match with_deadline(RENEW_DEADLINE, leases::renew(&self.store, NAME, &self.holder)).await {
                Ok(true) => (self.valid_until, delay) = (begin + VALIDITY, interval),
                Ok(false) => return Error::LeaseLost,
                Err(cause) if Instant::now() < self.valid_until => {
                    warn!(%cause, "cannot renew the lease");
                    delay = RETRY_INTERVAL;
                }
                Err(_) => return Error::LeaseLost,
            }
        }
    }

    /// Ends the lease. If that fails, it expires.
    pub(super) async fn release(self) {
        if let Err(cause) = with_deadline(RENEW_DEADLINE, leases::release(&self.store, NAME, &self.holder)).await {
            warn!(%cause, "cannot release the lease; it expires after {VALIDITY:?}");
        }
    }
}
