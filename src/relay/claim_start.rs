//! Where claims of new events start to read.
//!
//! PostgreSQL keeps deleted rows and their index entries while any transaction of the cluster may still see them: a dump, a report, a
//! session left idle. Claims that all start at the oldest entry would read every event again that was published since that transaction
//! began. So a claim starts where the one before ended.
//!
//! Events can appear behind that place: their transaction took longer, or the clock of their worker is behind, or another relay claimed
//! and released them. Some claims, *sweeps*, therefore start earlier, and take at most a twentieth of the time. Events that are older
//! still are found when the outbox is counted.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// How far back a sweep looks: further than transactions take and clocks differ, as a rule.
const SWEEP_WINDOW: TimeDelta = TimeDelta::seconds(10);
/// How many times the duration of a sweep passes until the next one.
const SWEEP_PAUSE: u32 = 20;
/// The longest time until the next sweep.
const MAX_SWEEP_PAUSE: Duration = Duration::from_secs(2);

/// The place, and when to sweep next. Cleared by an error: then it is unknown what was claimed.
#[derive(Debug, Default)]
pub(super) struct ClaimStart {
    /// The time of the last event of the claim before. `None`: start with the oldest event.
    last: Option<DateTime<Utc>>,
    /// When to sweep next; `None`: now.
    next_sweep: Option<Instant>,
}

/// One claim, from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The time of the oldest event that it may claim. `None`: any.
    pub(super) from: Option<DateTime<Utc>>,
    is_sweep: bool,
    at: Instant,
}

impl ClaimStart {
    /// The start of a claim that is made `now`.
    pub(super) fn next(&self, now: Instant) -> Start {
        let is_sweep = self.next_sweep.is_none_or(|next| next <= now);
        let from = if is_sweep { self.last.map(|last| last - SWEEP_WINDOW) } else { self.last };
        Start { from, is_sweep, at: now }
    }

    /// Notes the result of a claim: the time of its last event, if it found any, and whether it may have left some.
    pub(super) fn claimed(&mut self, start: Start, last: Option<DateTime<Utc>>, is_full: bool, now: Instant) {
        if start.is_sweep {
            let pause = (SWEEP_PAUSE * now.saturating_duration_since(start.at)).min(MAX_SWEEP_PAUSE);
            self.next_sweep = Some(now + pause);
        }
        // A full sweep leaves events behind the place of the claim before.
        self.last = if is_full { last } else { self.last.max(last) };
    }

    /// Notes the time of the oldest new event, so that the next claim starts there at the latest.
    pub(super) fn counted(&mut self, oldest: DateTime<Utc>) {
        self.last = self.last.map(|last| last.min(oldest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0)
    }

    /// A place at which the claim that began at `began` and took 1 ms ended.
    fn after_a_claim(began: Instant) -> ClaimStart {
        let mut place = ClaimStart::default();
        let first = place.next(began);
        assert_eq!(first.from, None, "the first claim starts with the oldest event");
        place.claimed(first, at(100), true, began + MS);
        place
    }

    #[test]
    fn a_claim_starts_where_the_one_before_ended() {
        let began = Instant::now();
        let mut place = after_a_claim(began);
        let second = place.next(began + 2 * MS);
        assert_eq!(second.from, at(100));
        place.claimed(second, None, false, began + 3 * MS);
        assert_eq!(place.next(began + 4 * MS).from, at(100), "an empty claim changes nothing");
    }

    #[test]
    fn a_sweep_follows_after_twenty_times_its_duration_but_within_two_seconds() {
        let began = Instant::now();
        let mut place = after_a_claim(began);
        assert_eq!(place.next(began + 20 * MS).from, at(100));
        let sweep = place.next(began + 21 * MS);
        assert_eq!(sweep.from, at(90));
        place.claimed(sweep, None, false, sweep.at + Duration::from_secs(3));
        let next = sweep.at + Duration::from_secs(5);
        assert_eq!([next - MS, next].map(|now| place.next(now).from), [at(100), at(90)]);
    }

    #[test]
    fn a_full_sweep_moves_back_so_that_nothing_is_skipped() {
        let began = Instant::now();
        let mut place = after_a_claim(began);
        let sweep = place.next(began + 100 * MS);
        place.claimed(sweep, at(95), true, began + 101 * MS);
        assert_eq!(place.next(began + 102 * MS).from, at(95));
    }

    #[test]
    fn an_older_event_that_was_counted_is_claimed_next() {
        let began = Instant::now();
        let mut place = after_a_claim(began);
        place.counted(at(120).unwrap());
        assert_eq!(place.next(began + 2 * MS).from, at(100));
        place.counted(at(-1000).unwrap());
        assert_eq!(place.next(began + 2 * MS).from, at(-1000));
    }
}
