//! Parses the webhooks of a batch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::{Span, field, info_span};

use super::panic_failure::panic_failure;
use crate::broker::{Delivery, Message};
use crate::domain::failure::Failure;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{Parsed, parse};
use crate::failpoints::failpoint_for_body;
use crate::telemetry;

/// A delivery whose body has been parsed.
pub(super) struct ParsedDelivery {
    pub(super) delivery: Delivery,
    /// What the webhook says, or why it cannot be parsed.
    pub(super) webhook: Result<Parsed, Failure>,
    /// Covers the delivery from here until it is settled; none for a message without a trace.
    pub(super) span: Span,
}

impl ParsedDelivery {
    pub(super) fn message(&self) -> &Message {
        &self.delivery.message
    }
}

/// Parses each message of `batch`, in order.
pub(super) fn parse_batch(batch: Vec<Delivery>) -> Vec<ParsedDelivery> {
    batch
        .into_iter()
        .map(|delivery| {
            let span = span(&delivery.message);
            let webhook = span.in_scope(|| parse_message(&delivery.message));
            ParsedDelivery { delivery, webhook, span }
        })
        .collect()
}

/// A panic of the parser is a failure of this one message, not the end of the process.
fn parse_message(message: &Message) -> Result<Parsed, Failure> {
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        failpoint_for_body(&message.body);
        parse(&message.body, message.received_at, Timestamp::now())
    }));
    parsed.unwrap_or_else(|_| Err(panic_failure()))
}

fn span(message: &Message) -> Span {
    let Some(traceparent) = &message.traceparent else { return Span::none() };
    let span = || info_span!("handle webhook", message.id, message.attempt, outcome = field::Empty);
    telemetry::traced(Some(traceparent), span)
}
