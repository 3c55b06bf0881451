//! A rate limiter that makes up for short stalls, but not for long ones.

use std::time::Duration;

use tokio::time::Instant;

/// How much of a stall is made up for: enough to keep the average rate up, with a burst of at most one second's worth.
const MAX_CATCH_UP: Duration = Duration::from_secs(1);

/// Limits operations to a rate: in any period there are at most as many as it allows in that period plus one second.
#[derive(Debug)]
pub struct RateLimiter {
    interval: Duration,
    /// When the next operation may start.
    next: Instant,
}

impl RateLimiter {
    /// Creates a limiter of `rate` operations per second, the first one now. A rate of 0 is taken for 1.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), next: Instant::now() }
    }

    /// Waits until `count` operations may start together. They count even if the future is dropped.
    pub async fn acquire(&mut self, count: usize) {
        tokio::time::sleep_until(self.reserve(Instant::now(), count)).await;
    }

    /// Returns when `count` operations may start, and moves the start of the next one behind them.
    fn reserve(&mut self, now: Instant, count: usize) -> Instant {
        let start = now.checked_sub(MAX_CATCH_UP).map_or(self.next, |earliest| self.next.max(earliest));
        self.next = start + self.interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_stall_is_made_up_for() {
        let mut limiter = RateLimiter::new(100);
        let first = limiter.next;
        let late = first + Duration::from_millis(500);
        let starts: Vec<Instant> = (0..100).map(|_| limiter.reserve(late, 1)).collect();
        assert_eq!(starts[0], first);
        assert_eq!(starts[99], first + Duration::from_millis(990), "as without the stall");
    }

    #[test]
    fn the_burst_after_a_long_stall_is_one_second_worth() {
        let mut limiter = RateLimiter::new(100);
        let late = limiter.next + Duration::from_secs(600);
        let burst = (0..1_000).filter(|_| limiter.reserve(late, 1) <= late).count();
        assert_eq!(burst, 101, "those of one second, and the one that is due");
    }

    #[test]
    fn a_batch_is_followed_by_a_delay_in_proportion() {
        let mut limiter = RateLimiter::new(100);
        let first = limiter.next;
        assert_eq!(limiter.reserve(first, 25), first);
        assert_eq!(limiter.reserve(first, 25), first + Duration::from_millis(250));
    }
}
