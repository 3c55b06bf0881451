//! The `traceparent` header (W3C Trace Context, version 00), with which a trace goes from one process to the next.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Where the ids and the flags are in the header.
const TRACE_ID: std::ops::Range<usize> = 3..35;
const SPAN_ID: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;

/// Returns `header` if it is a `traceparent`: ids in lower case, neither of them zero.
#[must_use]
pub fn valid_traceparent(header: &str) -> Option<&str> {
    let shape = "00-................................-................-..";
    let fits = |(byte, shape): (u8, u8)| byte == shape || (shape == b'.' && matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_valid = header.len() == shape.len() && header.bytes().zip(shape.bytes()).all(fits);
    let is_set = |id: &str| id.bytes().any(|digit| digit != b'0');
    (is_valid && is_set(&header[TRACE_ID]) && is_set(&header[SPAN_ID])).then_some(header)
}

/// The id of the trace that a valid `traceparent` belongs to, for log lines.
#[must_use]
pub fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    valid_traceparent(traceparent?)?.get(TRACE_ID)
}

/// Whether a span was made in another process. Tools show where a trace enters a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Local,
    Remote,
}

/// The span that a `traceparent` names. `None` if it is not valid.
pub(super) fn span_context(traceparent: &str, origin: Origin) -> Option<SpanContext> {
    let header = valid_traceparent(traceparent)?;
    let flags = TraceFlags::new(u8::from_str_radix(&header[FLAGS], 16).ok()?);
    let trace = TraceId::from_hex(&header[TRACE_ID]).ok()?;
    let span = SpanId::from_hex(&header[SPAN_ID]).ok()?;
    Some(SpanContext::new(trace, span, flags, origin == Origin::Remote, TraceState::NONE))
}

/// The `traceparent` that names a span.
pub(super) fn header(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_malformed_traceparent_is_refused() {
        assert_eq!(valid_traceparent(RIGHT), Some(RIGHT));
        for wrong in [
            "",
            "00",
            &RIGHT.to_uppercase(),
            &RIGHT.replace("00-4", "01-4"),
            &format!("{RIGHT}0"),
            &RIGHT.replace('7', "\0"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(valid_traceparent(wrong), None, "{wrong:?}");
            assert_eq!(trace_id(Some(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_traceparent_is_read_and_written_alike() {
        let context = span_context(RIGHT, Origin::Remote).unwrap();
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(header(&context), RIGHT);
        assert_eq!(trace_id(Some(RIGHT)), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        let unsampled = RIGHT.replace("-01", "-00");
        assert_eq!(header(&span_context(&unsampled, Origin::Local).unwrap()), unsampled);
    }
}
