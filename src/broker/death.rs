//! Why a message is on the dead queue: the worker's headers, or else the broker's `x-death`.

use lapin::BasicProperties;
use lapin::types::AMQPValue;

use super::headers::Headers;
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::timestamp::Timestamp;

/// One death of a message: docs/CONTRACT.md#7-dead-letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Its class and reason.
    pub failure: Failure,
    /// When the message died, if its headers say so; the same each time the message is read.
    pub at: Option<Timestamp>,
}

impl Death {
    /// Reads the death of a message on the dead queue. `work_queue` is the queue that it may have expired on.
    #[must_use]
    pub fn read(properties: &BasicProperties, work_queue: &str) -> Self {
        let headers = Headers::of(properties);
        let failed_at = headers.text("x-failed-at").and_then(|time| Timestamp::parse(&time));
        if let Some(class) = headers.text("x-failure-class").and_then(|name| FailureClass::parse(&name)) {
            let reason = headers.text("x-failure").unwrap_or_default();
            return Self { failure: Failure::new(class, reason), at: failed_at };
        }
        // RabbitMQ puts the latest death first.
        let death = headers.first_table("x-death");
        let text = |name| death.as_ref().and_then(|death| death.text(name)).unwrap_or_default();
        let died_at = death.as_ref().and_then(|death| match death.get("time")? {
            AMQPValue::Timestamp(seconds) => Timestamp::from_seconds(*seconds),
            _ => None,
        });
        let published_at = || properties.timestamp().and_then(Timestamp::from_seconds);
        Self {
            failure: broker_failure(&text("reason"), &text("queue"), work_queue),
            at: failed_at.or(died_at).or_else(published_at),
        }
    }
}

/// The failure that RabbitMQ dead-lettered a message for, by the reason and the queue in `x-death`.
fn broker_failure(reason: &str, queue: &str, work_queue: &str) -> Failure {
    match reason {
        "delivery_limit" => Failure::new(
            FailureClass::DeliveryLimit,
            format!(
                "it was delivered too often from {queue} without an ack: the worker crashed or lost its connection"
            ),
        ),
        "expired" if queue == work_queue => Failure::new(FailureClass::Expired, format!("it expired on {queue}")),
        _ => Failure::new(FailureClass::Unrouted, "there was no queue to hold it"),
    }
}
