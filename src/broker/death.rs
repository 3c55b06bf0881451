//! Why a message is on the dead queue: what the worker wrote on it, or what the broker did.

use lapin::BasicProperties;
use lapin::types::AMQPValue;

use super::message::Headers;
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::timestamp::Timestamp;

/// One death of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// What kind, and why.
    pub failure: Failure,
    /// When, as far as the message says; two readings of one message give the same.
    pub at: Option<Timestamp>,
}

impl Death {
    /// Reads the worker's headers, else the broker's `x-death`: `work` is the queue that a message may have expired on.
    #[must_use]
    pub fn read(properties: &BasicProperties, work: &str) -> Self {
        let headers = Headers(properties.headers().as_ref());
        let told_at = headers.text("x-failed-at").and_then(|time| Timestamp::parse(&time));
        if let Some(class) = headers.text("x-failure-class").and_then(|name| FailureClass::parse(&name)) {
            let reason = headers.text("x-failure").unwrap_or_default();
            return Self { failure: Failure::new(class, reason), at: told_at };
        }
        let last = last_death(&headers);
        let last = last.as_ref();
        let reason = last.and_then(|death| death.text("reason")).unwrap_or_default();
        let queue = last.and_then(|death| death.text("queue")).unwrap_or_default();
        let failure = match reason.as_str() {
            "delivery_limit" => Failure::new(
                FailureClass::DeliveryLimit,
                format!(
                    "{queue} gave it out too often without an answer: the worker crashed on it or lost its connection"
                ),
            ),
            "expired" if queue == work => Failure::new(FailureClass::Expired, format!("it expired on {queue}")),
            _ => Failure::new(FailureClass::Unrouted, "there was no queue to hold it"),
        };
        let died_at = last.and_then(|death| match death.get("time") {
            Some(AMQPValue::Timestamp(seconds)) => Timestamp::from_seconds(*seconds),
            _ => None,
        });
        Self { failure, at: told_at.or(died_at).or_else(|| properties.timestamp().and_then(Timestamp::from_seconds)) }
    }
}

/// The newest entry of `x-death`, which RabbitMQ keeps in front.
fn last_death<'a>(headers: &Headers<'a>) -> Option<Headers<'a>> {
    match headers.0?.inner().get("x-death")? {
        AMQPValue::FieldArray(deaths) => match deaths.as_slice().first()? {
            AMQPValue::FieldTable(death) => Some(Headers(Some(death))),
            _ => None,
        },
        _ => None,
    }
}
