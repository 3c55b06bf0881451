//! Parses the webhooks of a batch.

use std::iter::repeat_with;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::panic_failure::panic_failure;
use crate::broker::{Delivery, Message};
use crate::domain::failure::Failure;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{Parsed, parse};
use crate::failpoints::failpoint_for_body;
use crate::telemetry::Span;

/// A delivery whose body has been parsed.
pub(super) struct ParsedDelivery {
    pub(super) delivery: Delivery,
    /// What the webhook says, or why it cannot be parsed.
    pub(super) webhook: Result<Parsed, Failure>,
    /// Covers the delivery from here until it is settled.
    pub(super) span: Span,
}

impl ParsedDelivery {
    pub(super) fn message(&self) -> &Message {
        &self.delivery.message
    }
}

/// Parses each message of `batch`, in order. `spans` are those of the messages; missing ones are none.
pub(super) fn parse_batch(batch: Vec<Delivery>, spans: Vec<Span>) -> Vec<ParsedDelivery> {
    let spans = spans.into_iter().chain(repeat_with(Span::none));
    let parsed = batch.into_iter().zip(spans).map(|(delivery, span)| {
        let webhook = parse_message(&delivery.message);
        ParsedDelivery { delivery, webhook, span }
    });
    parsed.collect()
}

/// A panic of the parser is a failure of this one message, not the end of the process.
fn parse_message(message: &Message) -> Result<Parsed, Failure> {
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        failpoint_for_body(&message.body);
        parse(&message.body, message.received_at, Timestamp::now())
    }));
    parsed.unwrap_or_else(|_| Err(panic_failure()))
}
