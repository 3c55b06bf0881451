//! One run: reads Lean's list window by window, the oldest first, and remembers up to when it is complete.
//!
//! A window begins as the whole time asked for, and is halved while its list is long. So a run that is killed has lost little, and
//! memory does not grow with the length of the list.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tracing::warn;

use super::error::Error;
use super::reader::{IfLong, Reader, Window};
use crate::domain::listed::Source;
use crate::lean::Query;
use crate::store::reconcile_runs::record_progress;

/// Lean remembers what it sent for 90 days.
pub(super) const LEANS_MEMORY: TimeDelta = TimeDelta::days(90);
/// A run begins at least this long after the beginning of Lean's memory: there, entries expire while pages are read.
const MARGIN: TimeDelta = TimeDelta::hours(1);

/// A clock that is ahead of Lean's by no more than this counts as right: Lean's time is known in whole seconds.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// Whether a run goes on where an earlier one was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// It does, or it begins where Lean's memory does, but for an hour.
    Joined,
    /// There is a time between them that was never complete.
    Gap,
}

/// What a run covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The beginning, which is not part of it.
    pub from: DateTime<Utc>,
    /// The end, which is.
    pub to: DateTime<Utc>,
    /// Whether something before `from` may be missing.
    pub continuity: Continuity,
}

impl Range {
    /// The range after `from` (by default the last complete instant less `overlap`, or else 90 days less an hour ago; in any case
    /// `overlap` before `to`) and up to `to` (by default now).
    #[must_use]
    pub fn new(
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        complete_until: Option<DateTime<Utc>>,
        overlap: TimeDelta,
    ) -> Self {
        let now = Utc::now();
        let earliest = now - LEANS_MEMORY + MARGIN;
        let resumed = complete_until.map_or(earliest, |until| (until - overlap).max(earliest));
        let to = to.unwrap_or(now);
        let from = from.unwrap_or(resumed.min(to - overlap));
        let is_joined = from <= earliest || complete_until.is_some_and(|until| from <= until);
        let continuity = if is_joined { Continuity::Joined } else { Continuity::Gap };
        Self { from, to, continuity }
    }

    /// The range as it is read from `source`: of events, not from the edge of Lean's memory, and in the microseconds of PostgreSQL. The
    /// end is cut, not rounded: it must not be later than what was listed.
    pub(super) fn readable(self, source: Source) -> Self {
        let from = match source {
            Source::Events => self.from.max(Utc::now() - LEANS_MEMORY + MARGIN),
            Source::Entities => self.from,
        };
        Self { from: from.trunc_subsecs(6), to: self.to.trunc_subsecs(6), ..self }
    }
}

/// A run in progress.
pub(super) struct Run<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) range: Range,
    pub(super) source: Source,
    /// The row in `reconcile_runs`; none in a dry run.
    pub(super) id: Option<i64>,
    /// Up to when all windows are complete.
    pub(super) complete_until: Option<DateTime<Utc>>,
}

impl Run<'_> {
    /// Reads all windows, and records each one.
    ///
    /// # Errors
    /// Any [`Error`] but those about the lease. After an entry that is not a webhook, [`Error::NotWebhooks`]; the rest is accounted for
    /// nevertheless.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let min_length = match self.source {
            Source::Events => TimeDelta::minutes(1),
            // Lean selects entities by whole days.
            Source::Entities => TimeDelta::days(1),
        };
        let (mut from, mut length) = (self.range.from, self.range.to - self.range.from);
        while from < self.range.to {
            let window = Query { source: self.source, from, to: self.range.to.min(from + length) };
            let if_long = if length > min_length { IfLong::Refuse } else { IfLong::Read };
            match self.reader.read(&window, if_long).await? {
                Window::TooLong => length = (length / 2).max(min_length),
                Window::Done(listed_at) => {
                    self.end_at(listed_at);
                    self.end_window(window.to.min(self.range.to)).await?;
                    (from, length) = (window.to, (window.to - from) * 2);
                }
            }
        }
        self.end_window(self.range.to).await?;
        match (self.reader.garbage, self.reader.progress.missing) {
            (0, 0) => Ok(()),
            (0, missing) => Err(Error::Missing(missing)),
            (garbage, _) => Err(Error::NotWebhooks(garbage)),
        }
    }

    /// Cuts the range at `listed_at`, Lean's time, if it ends later: what Lean creates until then is not listed yet.
    fn end_at(&mut self, listed_at: Option<DateTime<Utc>>) {
        if let Some(listed_at) = listed_at.filter(|at| self.range.to - *at > CLOCK_TOLERANCE) {
            let seconds = (self.range.to - listed_at).num_seconds();
            warn!(seconds, "the clock of this host is ahead of Lean's; nothing after Lean's time is complete");
            self.range.to = listed_at;
        }
    }

    /// Everything up to `until` was listed, and is accounted for unless something was not a webhook, or is missing in a dry run.
    async fn end_window(&mut self, until: DateTime<Utc>) -> Result<(), Error> {
        if self.reader.garbage == 0 && self.reader.progress.missing == 0 {
            self.complete_until = Some(until);
        }
        if let Some(id) = self.id {
            record_progress(self.reader.store, id, &self.reader.progress.counts, self.recorded_until()).await?;
        }
        Ok(())
    }

    /// The value of the column `complete_until`: nothing if something before the range may be missing.
    pub(super) fn recorded_until(&self) -> Option<DateTime<Utc>> {
        self.complete_until.filter(|_| self.range.continuity == Continuity::Joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_begins_before_the_last_complete_instant_or_with_leans_memory() {
        let (now, hour) = (Utc::now(), TimeDelta::hours(1));
        let first = Range::new(None, None, None, hour);
        assert!(first.from < first.to - LEANS_MEMORY + hour * 2 && first.continuity == Continuity::Joined);
        let next = Range::new(None, None, Some(now - hour), hour);
        assert_eq!((next.from, next.continuity), (now - hour * 2, Continuity::Joined));
        assert!(first.from >= first.to - LEANS_MEMORY + hour, "entries at the edge expire while they are read");
        let after_a_long_time = Range::new(None, None, Some(now - TimeDelta::days(200)), hour);
        assert!(after_a_long_time.from > now - TimeDelta::days(91));
        assert_eq!(after_a_long_time.continuity, Continuity::Joined);
    }

    #[test]
    fn a_range_that_leaves_out_a_time_never_compared_has_a_gap() {
        let (now, hour) = (Utc::now(), TimeDelta::hours(1));
        let continuity = |from, complete| Range::new(Some(now - from), None, complete, hour).continuity;
        assert_eq!(continuity(hour, None), Continuity::Gap);
        assert_eq!(continuity(hour, Some(now - hour * 2)), Continuity::Gap);
        assert_eq!(continuity(hour, Some(now - hour)), Continuity::Joined);
        assert_eq!(continuity(TimeDelta::days(91), None), Continuity::Joined);
        let asked = Range::new(Some(now - TimeDelta::days(91)), None, None, hour);
        assert!(asked.readable(Source::Events).from >= now - LEANS_MEMORY + hour);
        assert!(asked.readable(Source::Entities).from <= now - TimeDelta::days(91));
    }
}
