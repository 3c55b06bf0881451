//! Spans, made with OpenTelemetry's API. While traces are not exported, starting one costs a single atomic load.
//!
//! What a span is named and which attributes it has is decided where the work is done: `spans.rs` of `broker`, `store` and `ingress`.
//! Attributes never hold a body, a secret or customer data, and neither does `error.type`.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

pub use opentelemetry::trace::SpanKind;

use super::traceparent::{Origin, header, span_context};

/// Set once traces are exported.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Makes spans with `tracer` from now on.
pub(super) fn export_with(tracer: SdkTracer) {
    let _ = TRACER.set(tracer);
}

/// A span, which ends when it is dropped. It is empty while traces are not exported, and has ids only if the sampler has left it out.
#[derive(Debug, Default)]
pub struct Span(Option<Box<SdkSpan>>);

impl Span {
    /// Whether traces are exported.
    #[must_use]
    pub fn are_made() -> bool {
        TRACER.get().is_some()
    }

    /// No span.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Starts a span as a child of the one in a `traceparent`, or else a new trace. `name` is called only for a recorded span.
    #[must_use]
    pub fn start(kind: SpanKind, parent: Option<&str>, name: impl FnOnce() -> String) -> Self {
        Self::start_in(kind, remote(parent), None, name)
    }

    /// As [`Span::start`], for work that has begun at an earlier time.
    #[must_use]
    pub fn started_at(kind: SpanKind, parent: Option<&str>, began: Instant, name: impl FnOnce() -> String) -> Self {
        Self::start_in(kind, remote(parent), Some(began), name)
    }

    /// Starts a span as a child of the one in a `traceparent`, which is of this process; no span without one.
    #[must_use]
    pub fn child(kind: SpanKind, parent: Option<&str>, name: impl FnOnce() -> String) -> Self {
        let local = || parent.and_then(|header| span_context(header, Origin::Local));
        if parent.is_some() { Self::start_in(kind, local, None, name) } else { Self::none() }
    }

    fn start_in(
        kind: SpanKind,
        parent: impl FnOnce() -> Option<SpanContext>,
        began: Option<Instant>,
        name: impl FnOnce() -> String,
    ) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::none() };
        let context = match parent() {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let start_time = began.and_then(|began| SystemTime::now().checked_sub(began.elapsed()));
        let builder = SpanBuilder { span_kind: Some(kind), start_time, ..SpanBuilder::default() };
        let mut span = tracer.build_with_context(builder, &context);
        if span.is_recording() {
            span.update_name(Cow::Owned(name()));
        }
        Self(Some(Box::new(span)))
    }

    /// Whether the span will be exported. Only then it is worth while to compute its attributes.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(|span| span.is_recording())
    }

    /// The span as a `traceparent` header, to continue its trace. `None` without a span.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context();
        context.is_valid().then(|| header(context))
    }

    /// The header with which a trace goes on that arrived with `received`: this span, unless the sampler has left it out and the
    /// trace has a header already.
    #[must_use]
    pub fn continued(&self, received: Option<&str>) -> Option<String> {
        let is_own = self.is_recording() || received.is_none();
        is_own.then(|| self.traceparent()).flatten().or_else(|| received.map(str::to_owned))
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Links the span to the one in a `traceparent`, if that was sampled.
    pub fn link(&mut self, traceparent: Option<&str>) {
        if let Some(span) = &mut self.0
            && let Some(linked) = traceparent.and_then(|header| span_context(header, Origin::Remote))
            && linked.is_sampled()
        {
            span.add_link(linked, Vec::new());
        }
    }

    /// Marks the span as failed. `error_type` is one of few values, and not the text of an error.
    pub fn fail(&mut self, error_type: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", error_type));
            span.set_status(Status::error(""));
        }
    }
}

fn remote(traceparent: Option<&str>) -> impl FnOnce() -> Option<SpanContext> {
    move || span_context(traceparent?, Origin::Remote)
}
