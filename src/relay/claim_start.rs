//! Where claims of new events start to read.
//!
//! PostgreSQL keeps deleted rows and their index entries while any transaction of the cluster may still see them: a dump, a report, a
//! session left idle. Claims that all start at the oldest entry would read every event again that was published since that transaction
//! began. So a claim starts where the one before ended.
//!
//! Events can appear behind that position: their transaction took longer, or the clock of their worker is behind, or another relay
//! claimed and released them. Some claims therefore start earlier: *sweeps*, which take a twentieth of the time, or come every 2 s.
//! Events that are older still are found when the outbox is counted.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// How far back a sweep looks: further than transactions take and clocks differ, as a rule.
const SWEEP_WINDOW: TimeDelta = TimeDelta::seconds(10);
/// How many times the duration of a sweep passes until the next one.
const SWEEP_PAUSE: u32 = 20;
/// The longest time until the next sweep.
const MAX_SWEEP_PAUSE: Duration = Duration::from_secs(2);

/// The position of the next claim, and when to sweep next.
#[derive(Debug, Default)]
pub(super) struct ClaimStart {
    /// The time of the last event of the claim before. `None`: start with the oldest event.
    last: Option<DateTime<Utc>>,
    /// The oldest event that is known to wait, if no claim has begun since.
    look_back_to: Option<DateTime<Utc>>,
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
    time: DateTime<Utc>,
}

impl ClaimStart {
    /// The start of a claim that is made at `at`, when the clock shows `time`.
    pub(super) fn next(&mut self, at: Instant, time: DateTime<Utc>) -> Start {
        let is_sweep = self.next_sweep.is_none_or(|next| next <= at);
        let from = if is_sweep { self.last.map(|last| last - SWEEP_WINDOW) } else { self.last };
        let look_back_to = self.look_back_to.take();
        let from = from.map(|from| look_back_to.map_or(from, |event| event.min(from)));
        Start { from, is_sweep, at, time }
    }

    /// Notes the result of a claim: the time of its last event, if it found any, and whether it may have left some.
    pub(super) fn claimed(&mut self, start: Start, last: Option<DateTime<Utc>>, is_full: bool, now: Instant) {
        if start.is_sweep {
            let pause = (SWEEP_PAUSE * now.saturating_duration_since(start.at)).min(MAX_SWEEP_PAUSE);
            self.next_sweep = Some(now + pause);
        }
        // A clock that is ahead must not move the position beyond the events of the others.
        let last = last.map(|last| last.min(start.time));
        self.last = match (last, self.last) {
            // It may have left events between its last one and the end of the claim before.
            (Some(last), _) if is_full => Some(last),
            (None, None) => Some(start.time - SWEEP_WINDOW),
            (last, before) => last.max(before),
        };
    }

    /// Notes that the events of a claim may not have been published: the next claim starts where that one did.
    pub(super) fn released(&mut self, start: Start) {
        self.last = self.last.min(start.from);
    }

    /// Notes that there is a new event of this time: the next claim starts with it, if not with an older one.
    pub(super) fn look_back_to(&mut self, event: Option<DateTime<Utc>>) {
        self.look_back_to = self.look_back_to.into_iter().chain(event).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// A claim that begins at `began`, takes 1 ms and claims as many events as it may, up to that of `last` seconds.
    fn claim(position: &mut ClaimStart, began: Instant, last: i64) -> Start {
        let start = position.next(began, at(1000));
        position.claimed(start, Some(at(last)), true, began + MS);
        start
    }

    #[test]
    fn a_claim_starts_where_the_one_before_ended() {
        let (mut position, began) = (ClaimStart::default(), Instant::now());
        assert_eq!(claim(&mut position, began, 100).from, None, "the first claim starts with the oldest event");
        let second = position.next(began + 2 * MS, at(1000));
        assert_eq!(second.from, Some(at(100)));
        position.claimed(second, None, false, began + 3 * MS);
        assert_eq!(position.next(began + 4 * MS, at(1000)).from, Some(at(100)), "an empty claim changes nothing");
    }

    #[test]
    fn a_sweep_follows_after_twenty_times_its_duration_but_within_two_seconds() {
        let (mut position, began) = (ClaimStart::default(), Instant::now());
        claim(&mut position, began, 100);
        assert_eq!(position.next(began + 20 * MS, at(1000)).from, Some(at(100)));
        let sweep = position.next(began + 21 * MS, at(1000));
        assert_eq!(sweep.from, Some(at(90)));
        position.claimed(sweep, None, false, sweep.at + Duration::from_secs(3));
        let next = sweep.at + Duration::from_secs(5);
        assert_eq!([next - MS, next].map(|now| position.next(now, at(1000)).from), [Some(at(100)), Some(at(90))]);
    }

    #[test]
    fn a_full_sweep_moves_back_so_that_nothing_is_skipped() {
        let (mut position, began) = (ClaimStart::default(), Instant::now());
        claim(&mut position, began, 100);
        claim(&mut position, began + 100 * MS, 95);
        assert_eq!(position.next(began + 102 * MS, at(1000)).from, Some(at(95)));
    }

    #[test]
    fn an_older_event_that_was_counted_is_claimed_next_even_if_a_claim_was_under_way() {
        let (mut position, began) = (ClaimStart::default(), Instant::now());
        claim(&mut position, began, 100);
        let under_way = position.next(began + 2 * MS, at(1000));
        position.look_back_to(Some(at(3)));
        position.claimed(under_way, Some(at(110)), true, began + 3 * MS);
        assert_eq!(position.next(began + 4 * MS, at(1000)).from, Some(at(3)));
        assert_eq!(position.next(began + 4 * MS, at(1000)).from, Some(at(110)), "once");
        position.look_back_to(Some(at(200)));
        assert_eq!(position.next(began + 4 * MS, at(1000)).from, Some(at(110)), "a newer one is not skipped to");
    }

    #[test]
    fn the_events_of_a_claim_that_failed_are_claimed_again() {
        let (mut position, began) = (ClaimStart::default(), Instant::now());
        let first = claim(&mut position, began, 100);
        let second = claim(&mut position, began + 2 * MS, 110);
        claim(&mut position, began + 4 * MS, 120);
        position.released(second);
        assert_eq!(position.next(began + 6 * MS, at(1000)).from, Some(at(100)));
        position.released(first);
        assert_eq!(position.next(began + 6 * MS, at(1000)).from, None);
    }

    #[test]
    fn a_clock_that_is_ahead_hides_no_events_of_others_and_an_empty_outbox_is_read_once() {
        let (mut position, began) = (ClaimStart::default(), Instant::now());
        let empty = position.next(began, at(1000));
        position.claimed(empty, None, false, began + MS);
        assert_eq!(position.next(began + 2 * MS, at(1000)).from, Some(at(990)));
        claim(&mut position, began + 2 * MS, 1030);
        assert_eq!(position.next(began + 3 * MS, at(1000)).from, Some(at(1000)));
    }
}
