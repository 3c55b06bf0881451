//! What a step of the role comes to, and how long the role waits after it.

use std::time::Duration;

use super::Report;
use super::error::Error;
use crate::reconnect::Backoff;
use crate::store;

/// How often it is checked whether a run is due, or whether another process still reconciles.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum delay after a failed run. Lean itself is waited for within a run.
const MAX_FAILURE_DELAY: Duration = Duration::from_secs(60);

/// What one step came to.
#[derive(Debug)]
pub enum Step {
    /// A run has ended.
    Ran(Report),
    /// Everything up to a minute and less than [`Settings::every`](super::Settings::every) ago is accounted for.
    NotDue,
    /// Another process reconciles: its name.
    HeldBy(String),
}

/// The delays between steps.
pub(super) struct Pace {
    every: Duration,
    outage: Backoff,
    failure: Backoff,
}

impl Pace {
    /// The delays of a role that does a run `every` so often.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, outage: Backoff::default(), failure: Backoff::up_to(MAX_FAILURE_DELAY) }
    }

    /// The delay after a step with this result.
    pub(super) fn delay_after(&mut self, result: &Result<Step, store::Error>) -> Duration {
        match result {
            // The database is waited for by attempts at short intervals: promise 5 of docs/CONTRACT.md#1-promises.
            Err(_) | Ok(Step::Ran(Report { failure: Some(Error::Database(_)), .. })) => self.outage.next_delay(),
            // Everything that Lean lists was read, also where that cannot be complete: to read it again at once changes nothing.
            Ok(Step::Ran(Report { failure: None | Some(Error::NotWebhooks(_) | Error::Inconsistent(_)), .. })) => {
                *self = Self::new(self.every);
                self.every
            }
            Ok(Step::Ran(_)) => self.failure.next_delay(),
            Ok(Step::NotDue | Step::HeldBy(_)) => {
                *self = Self::new(self.every);
                POLL_INTERVAL.min(self.every)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::*;
    use crate::reconcile::listing::Inconsistency;
    use crate::reconcile::{Progress, Range};

    const EVERY: Duration = Duration::from_secs(600);

    fn delay_after(failure: Option<Error>) -> Duration {
        let range = Range::new(None, None, Some(Utc::now()), TimeDelta::hours(1));
        let report = Report { range, progress: Progress::default(), complete_until: None, failure };
        Pace::new(EVERY).delay_after(&Ok(Step::Ran(report)))
    }

    #[test]
    fn what_another_run_does_not_change_is_not_read_again_at_once() {
        for failure in [None, Some(Error::NotWebhooks(1)), Some(Error::Inconsistent(Inconsistency::Count))] {
            assert_eq!(delay_after(failure), EVERY);
        }
        assert!(delay_after(Some(Error::LeaseLost)) < Duration::from_secs(60));
        assert_eq!(Pace::new(EVERY).delay_after(&Ok(Step::NotDue)), POLL_INTERVAL);
        assert_eq!(Pace::new(Duration::from_secs(1)).delay_after(&Ok(Step::NotDue)), Duration::from_secs(1));
    }
}
