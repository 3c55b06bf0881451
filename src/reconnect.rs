//! Retries with exponential backoff and without a time limit: the only use of the `backoff` crate.
//!
//! `backoff` is required by the product's owner and unmaintained (RUSTSEC-2025-0012), so it is confined to this module.
//! Its default gives up after 15 minutes; the policy here has no time limit.

use std::time::{Duration, Instant};

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// The maximum delay before jitter; with jitter it is 1.5 s. Work resumes within 5 s of a dependency's return, in which
/// two delays (of the connection and of the task that waits) and the attempts have to fit: docs/CONTRACT.md#1-promises.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// Increasing delays with jitter, without end.
pub struct Backoff(ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(MAX_INTERVAL)
    }
}

impl Backoff {
    /// About 100 ms at first, growing to `max_interval`, and with jitter to half as much again.
    #[must_use]
    pub fn up_to(max_interval: Duration) -> Self {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(100))
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            .with_max_interval(max_interval)
            .with_max_elapsed_time(None)
            .build();
        Self(policy)
    }

    /// The next delay: about 100 ms at first; by default at most 1.5 s.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(MAX_INTERVAL)
    }
}

/// How long a request is repeated while what it needs is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryLimit {
    /// For this long: for commands.
    For(Duration),
    /// Until it succeeds: for roles.
    Unlimited,
}

/// The delays between the attempts at one request, within a [`RetryLimit`].
pub struct Retries {
    backoff: Backoff,
    /// When the last attempt may begin.
    end: Option<Instant>,
}

impl RetryLimit {
    /// Begins to count; delays grow to `max_interval`.
    #[must_use]
    pub fn start(self, max_interval: Duration) -> Retries {
        let end = match self {
            Self::For(limit) => Some(Instant::now() + limit),
            Self::Unlimited => None,
        };
        Retries { backoff: Backoff::up_to(max_interval), end }
    }
}

impl Retries {
    /// The delay before the next attempt, at least `minimum`; `None` if it would begin after the limit.
    pub fn next_delay(&mut self, minimum: Duration) -> Option<Duration> {
        let delay = self.backoff.next_delay().max(minimum);
        self.end.is_none_or(|end| Instant::now() + delay <= end).then_some(delay)
    }
}

/// Calls `attempt` until it succeeds. After each failure, calls `on_failure` with the error and the delay before the
/// next attempt. The future may be dropped at any time.
pub async fn retry_until_ok<T, E, F>(mut attempt: impl FnMut() -> F, mut on_failure: impl FnMut(&E, Duration)) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::default();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => {
                let delay = backoff.next_delay();
                on_failure(&error, delay);
                tokio::time::sleep(delay).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_end_with_their_limit_or_never() {
        let second = Duration::from_secs(1);
        assert_eq!(RetryLimit::For(second).start(second).next_delay(2 * second), None);
        assert!(RetryLimit::For(second).start(second).next_delay(Duration::ZERO).is_some());
        assert_eq!(RetryLimit::Unlimited.start(second).next_delay(100 * second), Some(100 * second));
    }

    #[test]
    fn delays_grow_to_at_most_a_second_and_a_half_and_never_end() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..1_000).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] <= Duration::from_millis(150));
        let range = Duration::from_millis(500)..=Duration::from_millis(1_500);
        assert!(delays[10..].iter().all(|delay| range.contains(delay)));
    }
}
