//! Limits failed logins, by address and in total, so that tokens cannot be guessed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures are counted for this long after the first one.
const WINDOW: Duration = Duration::from_secs(300);
/// Maximum failures of one address within [`WINDOW`].
const MAX_BY_ADDRESS: u32 = 10;
/// Maximum failures of all addresses within [`WINDOW`], after which only tokens that are right are answered.
const MAX_IN_TOTAL: u32 = 500;

/// Failures since the first one.
struct Failures {
    since: Instant,
    count: u32,
}

impl Failures {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= WINDOW
    }

    /// How long logins are refused, if they are.
    fn wait(&self, max: u32, now: Instant) -> Option<Duration> {
        (self.count >= max && !self.is_over(now)).then(|| WINDOW.saturating_sub(now.duration_since(self.since)))
    }
}

/// The failed logins. At most [`MAX_IN_TOTAL`] addresses are kept, because only a counted failure adds one.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<Option<IpAddr>, Failures>>);

impl Attempts {
    /// How long `address` has to wait before it may try again; `None` if it need not.
    pub(super) fn wait(&self, address: IpAddr) -> Option<Duration> {
        self.lock().get(&Some(network(address))).and_then(|failures| failures.wait(MAX_BY_ADDRESS, Instant::now()))
    }

    /// How long all who have no right token have to wait.
    pub(super) fn wait_of_all(&self) -> Option<Duration> {
        self.lock().get(&None).and_then(|failures| failures.wait(MAX_IN_TOTAL, Instant::now()))
    }

    /// Counts a failure.
    pub(super) fn count(&self, address: IpAddr) {
        let (mut failures, now) = (self.lock(), Instant::now());
        failures.retain(|_, failures| !failures.is_over(now));
        for key in [Some(network(address)), None] {
            failures.entry(key).or_insert(Failures { since: now, count: 0 }).count += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address, or the /64 of an IPv6 address, all of which one client may use.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_after_ten_failures_and_all_after_five_hundred() {
        let attempts = Attempts::default();
        let [guesser, neighbour, other] =
            ["2001:db8::1", "2001:db8::2", "203.0.113.1"].map(|address| address.parse::<IpAddr>().unwrap());
        for _ in 0..MAX_BY_ADDRESS {
            assert_eq!(attempts.wait(guesser), None);
            attempts.count(guesser);
        }
        assert!(attempts.wait(neighbour).is_some_and(|wait| wait <= WINDOW));
        assert_eq!((attempts.wait(other), attempts.wait_of_all()), (None, None));
        for number in 0..MAX_IN_TOTAL {
            attempts.count(IpAddr::V4(number.into()));
        }
        assert!(attempts.wait(other).is_none() && attempts.wait_of_all().is_some());
        let past = Instant::now().checked_sub(WINDOW).unwrap();
        attempts.lock().values_mut().for_each(|failures| failures.since = past);
        assert_eq!((attempts.wait(guesser), attempts.wait_of_all()), (None, None));
    }
}
