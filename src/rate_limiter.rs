//! A rate limit: so many a second, and no more, whatever held them up.

use std::time::Duration;

use tokio::time::Instant;

/// What a stall held up is made up for, but no more than this much of it: an average is kept, and a stall of minutes is not
/// followed by a flood.
const MADE_UP_FOR: Duration = Duration::from_secs(1);

/// Tells when the next may go so that over any stretch of time no more go than the rate allows for it and one second more.
#[derive(Debug)]
pub struct RateLimiter {
    each: Duration,
    due: Instant,
}

impl RateLimiter {
    /// Begins now, at `rate` a second; a rate of 0 is taken as 1.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { each: Duration::from_secs(1) / rate.max(1), due: Instant::now() }
    }

    /// Waits until `count` more may go, together. Dropping the future leaves them counted.
    pub async fn admit(&mut self, count: usize) {
        tokio::time::sleep_until(self.turn(Instant::now(), count)).await;
    }

    fn turn(&mut self, now: Instant, count: usize) -> Instant {
        let turn = now.checked_sub(MADE_UP_FOR).map_or(self.due, |earliest| self.due.max(earliest));
        self.due = turn + self.each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_stall_is_made_up_for() {
        let mut pace = RateLimiter::new(100);
        let began = pace.due;
        let late = began + Duration::from_millis(500);
        let turns: Vec<Instant> = (0..100).map(|_| pace.turn(late, 1)).collect();
        assert_eq!(turns[0], began);
        assert_eq!(turns[99], began + Duration::from_millis(990), "as if there had been no stall");
    }

    #[test]
    fn a_long_stall_is_not_followed_by_a_flood() {
        let mut pace = RateLimiter::new(100);
        let late = pace.due + Duration::from_secs(600);
        let at_once = (0..1_000).filter(|_| pace.turn(late, 1) <= late).count();
        assert_eq!(at_once, 101, "one second's worth, and the one that is due");
    }

    #[test]
    fn a_lot_is_followed_by_the_pause_that_it_is_worth() {
        let mut pace = RateLimiter::new(100);
        let began = pace.due;
        assert_eq!(pace.turn(began, 25), began);
        assert_eq!(pace.turn(began, 25), began + Duration::from_millis(250));
    }
}
