//! Decides what is done with each delivery. Pure.

use super::parse::ParsedDelivery;
use crate::domain::failure::Failure;
use crate::domain::outcome::{DeliveryResult, Outcome};
use crate::domain::retry::{Delay, Schedule};
use crate::domain::timestamp::Timestamp;

/// What is done with a delivery. The copies are published before it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Acknowledge.
    Ack(Outcome),
    /// Copy to a retry tier as the next attempt.
    Retry(Delay, Failure),
    /// Copy to a retry tier as the same attempt, for the reason given.
    Defer(Delay, String),
    /// Copy to the dead queue. The time of death stays the same however often the copy is published.
    Dead(Timestamp, Failure),
}

impl Disposition {
    /// The name in metrics and logs (docs/CONTRACT.md#8-metrics). A deferral counts as a retry there.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Ack(outcome) => outcome.as_str(),
            Self::Retry(..) | Self::Defer(..) => RETRIED,
            Self::Dead(..) => DEAD,
        }
    }
}

pub(super) const RETRIED: &str = "retried";
pub(super) const DEAD: &str = "dead";

/// A delivery and what is to be done with it.
pub(super) struct ClassifiedDelivery {
    pub(super) parsed: ParsedDelivery,
    pub(super) disposition: Disposition,
}

/// Classifies each delivery by its result, its attempt and the retry schedule; `results` are in the order of `parsed`.
pub(super) fn classify(
    parsed: Vec<ParsedDelivery>,
    results: Vec<DeliveryResult>,
    schedule: &Schedule,
    now: Timestamp,
) -> Vec<ClassifiedDelivery> {
    let classified = parsed.into_iter().zip(results).map(|(parsed, result)| {
        let disposition = disposition(result, parsed.message().attempt, schedule, now);
        ClassifiedDelivery { parsed, disposition }
    });
    classified.collect()
}

fn disposition(result: DeliveryResult, attempt: u32, schedule: &Schedule, now: Timestamp) -> Disposition {
    match result {
        DeliveryResult::Handled(outcome) => Disposition::Ack(outcome),
        DeliveryResult::Deferred(reason) => Disposition::Defer(schedule.deferral(), reason),
        DeliveryResult::Failed(failure) => match schedule.after(attempt) {
            Some(delay) if failure.class.is_worth_a_retry() => Disposition::Retry(delay, failure),
            _ => Disposition::Dead(now, failure),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::FailureClass;

    fn classified(class: FailureClass, attempt: u32) -> &'static str {
        let schedule = Schedule::parse("5s,30s").unwrap();
        let failed = DeliveryResult::Failed(Failure::new(class, "x"));
        disposition(failed, attempt, &schedule, Timestamp::EPOCH).as_str()
    }

    #[test]
    fn a_failure_is_retried_by_the_schedule_and_then_dead() {
        for class in [FailureClass::UnknownEntity, FailureClass::RejectedByDatabase, FailureClass::Panicked] {
            assert_eq!([1, 2, 3].map(|attempt| classified(class, attempt)), ["retried", "retried", "dead"]);
        }
    }

    #[test]
    fn a_deferred_delivery_is_retried_at_any_attempt() {
        let schedule = Schedule::parse("5s,30s").unwrap();
        for attempt in [1, 3, 99] {
            let deferred = DeliveryResult::Deferred("locked".to_owned());
            let disposition = disposition(deferred, attempt, &schedule, Timestamp::EPOCH);
            assert_eq!(disposition, Disposition::Defer(schedule.deferral(), "locked".to_owned()));
        }
    }

    #[test]
    fn a_failure_that_a_retry_cannot_help_is_dead_at_once() {
        assert_eq!(classified(FailureClass::MalformedJson, 1), "dead");
        assert_eq!(classified(FailureClass::InvalidWebhook, 1), "dead");
    }
}
