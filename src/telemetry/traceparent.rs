//! The `traceparent` header (W3C Trace Context, level 1), with which a trace goes from one process to the next.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Where the ids and the flags are in the header.
const TRACE_ID: std::ops::Range<usize> = 3..35;
const SPAN_ID: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;
/// The shape of version 00; a dot stands for a digit.
const SHAPE: &str = "00-................................-................-..";

/// Returns `header` as version 00 if it is a `traceparent`: ids in lower case, neither of them zero. Of a later version, what comes
/// after the flags is cut, and of the flags only *sampled* is kept, as its section 4.3 says.
#[must_use]
pub fn valid_traceparent(header: &str) -> Option<String> {
    let (version, rest) = header.split_at_checked(2)?;
    if version == "00" {
        return is_valid(header).then(|| header.to_owned());
    }
    let (known, unknown) = rest.split_at_checked(SHAPE.len() - 2)?;
    let known = format!("00{known}");
    let is_version = version != "ff" && version.bytes().all(is_digit);
    let is_known = is_version && (unknown.is_empty() || unknown.starts_with('-')) && is_valid(&known);
    let flags = is_known.then(|| u8::from_str_radix(&known[FLAGS], 16)).and_then(Result::ok)?;
    Some(format!("{}{:02x}", &known[..FLAGS.start], flags & TraceFlags::SAMPLED.to_u8()))
}

fn is_valid(header: &str) -> bool {
    let fits = |(byte, shape): (u8, u8)| byte == shape || (shape == b'.' && is_digit(byte));
    let is_set = |id: &str| id.bytes().any(|digit| digit != b'0');
    header.len() == SHAPE.len()
        && header.bytes().zip(SHAPE.bytes()).all(fits)
        && is_set(&header[TRACE_ID])
        && is_set(&header[SPAN_ID])
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The id of the trace that a valid `traceparent` belongs to, for log lines.
#[must_use]
pub fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    traceparent.filter(|header| is_valid(header))?.get(TRACE_ID)
}

/// Whether a span was made in another process. Tools show where a trace enters a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Local,
    Remote,
}

/// The span that a `traceparent` of version 00 names. `None` if it is not valid.
pub(super) fn span_context(traceparent: &str, origin: Origin) -> Option<SpanContext> {
    let header = is_valid(traceparent).then_some(traceparent)?;
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
        assert_eq!(valid_traceparent(RIGHT).as_deref(), Some(RIGHT));
        for wrong in [
            "",
            "00",
            &RIGHT.to_uppercase(),
            &RIGHT.replace("00-4", "ff-4"),
            &RIGHT.replace("00-4", "0x-4"),
            &RIGHT.replace("00-4", "\u{e9}-4"),
            &format!("{RIGHT}-what-later-versions-add"),
            &format!("{}0", RIGHT.replace("00-4", "01-4")),
            &RIGHT.replace("00-4", "01-4").replace("-01", "-0"),
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
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for later in ["01", "cc", "fe"] {
            for (flags, known) in [("01", "01"), ("03", "01"), ("02", "00"), ("01-what-later-versions-add", "01")] {
                let header = format!("{later}{}{flags}", &RIGHT[2..53]);
                let expected = format!("{}{known}", &RIGHT[..53]);
                assert_eq!(valid_traceparent(&header), Some(expected), "{header}");
            }
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
