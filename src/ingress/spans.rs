//! The span of a request, as OpenTelemetry's conventions for HTTP servers say (docs/TRACES.md).

use std::time::Instant;

use hyper::StatusCode;

use super::ROUTE;
use crate::telemetry::{Span, SpanKind};

/// The span of a post whose headers arrived at `arrived`, in the sender's trace if it has one.
pub(super) fn start(traceparent: Option<&str>, arrived: Instant) -> Span {
    let mut span = Span::started_at(SpanKind::Server, traceparent, arrived, || format!("POST {ROUTE}"));
    if span.is_recording() {
        span.set("http.request.method", "POST");
        span.set("http.route", ROUTE);
        span.set("url.path", ROUTE);
        span.set("url.scheme", "http");
    }
    span
}

/// Notes the answer.
pub(super) fn answered(span: &mut Span, status: StatusCode) {
    if span.is_recording() {
        span.set("http.response.status_code", i64::from(status.as_u16()));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            span.fail("503");
        }
    }
}
