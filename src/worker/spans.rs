//! The spans of a batch: one for each message, in the message's own trace, and one more for a batch of several.
//!
//! What is done for the batch as a whole (the transaction, the acknowledgement) belongs to the span of the batch. A batch of one needs
//! none: the span of its message is both, so on a calm system everything about a webhook is in one trace.

use crate::broker::{Consumer, Delivery};
use crate::telemetry::Span;

/// The `error.type` of a message that is handled later, through no fault of its own.
pub(super) const DEFERRED: &str = "deferred";
/// The `error.type` of messages that return to the queue because an outage lasted too long or the consumer was lost.
pub(super) const RELEASED: &str = "released";

/// The span of a batch.
#[derive(Default)]
pub(super) struct BatchSpan {
    /// None for a batch of one.
    span: Span,
    context: Option<String>,
}

impl BatchSpan {
    /// The parent of what is done for the batch as a whole.
    pub(super) fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// Marks it as failed.
    pub(super) fn fail(&mut self, error_type: &'static str) {
        self.span.fail(error_type);
    }
}

/// Starts the spans of `batch`, and lets each message continue its trace from its own. Returns the span of the batch and those of the
/// messages, in order; none while traces are not exported.
pub(super) fn start(consumer: &Consumer, batch: &mut [Delivery]) -> (BatchSpan, Vec<Span>) {
    if !Span::are_made() {
        return (BatchSpan::default(), Vec::new());
    }
    let mut spans: Vec<Span> = batch.iter().map(|delivery| consumer.process_span(delivery)).collect();
    let batch_span = match &mut *spans {
        [only] => BatchSpan { span: Span::none(), context: only.traceparent() },
        several => batch_span(consumer, batch, several),
    };
    for (delivery, span) in batch.iter_mut().zip(&spans) {
        delivery.message.traceparent = span.continued(delivery.message.traceparent.as_deref());
    }
    (batch_span, spans)
}

/// The span of a batch of several messages. It is a child of the first one that is recorded, so that it is recorded whenever a message
/// is; the others are linked to it.
fn batch_span(consumer: &Consumer, batch: &[Delivery], spans: &mut [Span]) -> BatchSpan {
    let Some(first) = spans.iter().find(|span| span.is_recording()) else { return BatchSpan::default() };
    let span = consumer.batch_span(batch, first.traceparent().as_deref());
    let context = span.traceparent();
    spans.iter_mut().for_each(|message| message.link(context.as_deref()));
    BatchSpan { span, context }
}
