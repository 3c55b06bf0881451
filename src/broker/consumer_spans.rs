//! The spans in which what a consumer delivers is processed.

use super::consumer::Consumer;
use super::delivery::Delivery;
use super::spans::Source;
use crate::telemetry::Span;

impl Consumer {
    /// The span in which one message is processed, in the message's own trace.
    #[must_use]
    pub fn process_span(&self, delivery: &Delivery) -> Span {
        self.source().process_span(delivery)
    }

    /// The span in which a batch of several messages is processed, in the trace of `parent`, a `traceparent`, and linked to what
    /// published each.
    #[must_use]
    pub fn batch_span(&self, batch: &[Delivery], parent: Option<&str>) -> Span {
        self.source().batch_span(batch, parent)
    }

    /// What its spans are about.
    pub(super) fn source(&self) -> Source<'_> {
        Source { queue: &self.queue, server: &self.connection.server }
    }
}
