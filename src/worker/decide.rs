//! What follows from what a delivery came to: acknowledged, tried again later, or dead. Pure.

use crate::domain::failure::Failure;
use crate::domain::retry::{Delay, Schedule};
use crate::domain::timestamp::Timestamp;

/// What handling a delivery came to.
pub(super) type Handled = Result<Ended, Unhandled>;

/// How a delivery ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It changed a bank link.
    Applied,
    /// It brought nothing new.
    Stale,
    /// It is not about a bank link; its published type.
    Ignored(&'static str),
}

/// Why a delivery did not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unhandled {
    /// It has failed.
    Failed(Failure),
    /// Its bank link cannot be written for now while others can, and not by a fault of its own: why.
    Obstructed(String),
}

impl From<Failure> for Unhandled {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is to be done with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Nothing but to acknowledge it.
    Ack(Ended),
    /// A copy waits that long, then comes back.
    Retry(Delay, Failure),
    /// A copy waits that long, then comes back as if it had never been here: why.
    Aside(Delay, String),
    /// A copy is kept for an operator; it died at that instant, however often the copy is tried.
    Dead(Failure, Timestamp),
}

/// Decides, at `now`, by outcome, attempt and schedule.
pub(super) fn decide(handled: Handled, attempt: u32, schedule: &Schedule, now: Timestamp) -> Disposition {
    match handled {
        Ok(ended) => Disposition::Ack(ended),
        Err(Unhandled::Obstructed(reason)) => Disposition::Aside(schedule.deferral(), reason),
        Err(Unhandled::Failed(failure)) => match schedule.after(attempt) {
            Some(delay) if failure.class.is_worth_a_retry() => Disposition::Retry(delay, failure),
            _ => Disposition::Dead(failure, now),
        },
    }
}

impl Disposition {
    /// The name it is counted under.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Ack(Ended::Applied) => "applied",
            Self::Ack(Ended::Stale) => "stale",
            Self::Ack(Ended::Ignored(_)) => "ignored",
            Self::Retry(..) | Self::Aside(..) => "retried",
            Self::Dead(..) => "dead",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::FailureClass;

    fn decided(class: FailureClass, attempt: u32) -> &'static str {
        let schedule = Schedule::parse("5s,30s").unwrap();
        decide(Err(Failure::new(class, "x").into()), attempt, &schedule, Timestamp::EPOCH).as_str()
    }

    #[test]
    fn a_failure_is_retried_by_the_schedule_and_then_dead() {
        for class in [FailureClass::UnknownEntity, FailureClass::RejectedByDatabase, FailureClass::Panicked] {
            assert_eq!([1, 2, 3].map(|attempt| decided(class, attempt)), ["retried", "retried", "dead"]);
        }
    }

    #[test]
    fn what_is_obstructed_is_put_aside_however_often_it_was_tried() {
        let schedule = Schedule::parse("5s,30s").unwrap();
        for attempt in [1, 3, 99] {
            let obstructed = Err(Unhandled::Obstructed("locked".to_owned()));
            let disposition = decide(obstructed, attempt, &schedule, Timestamp::EPOCH);
            assert_eq!(disposition, Disposition::Aside(schedule.deferral(), "locked".to_owned()));
        }
    }

    #[test]
    fn what_trying_again_cannot_help_is_dead_at_once() {
        assert_eq!(decided(FailureClass::MalformedJson, 1), "dead");
        assert_eq!(decided(FailureClass::InvalidWebhook, 1), "dead");
    }
}
