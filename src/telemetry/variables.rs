//! OpenTelemetry's environment variables: which are set, and which cannot be honoured.
//!
//! One that cannot be honoured is a wrong setting: silently ignored, it would lose traces that an operator counts on
//! (docs/CONTRACT.md#3-settings). The SDK itself falls back to a default.

/// How many links a span may have.
pub(super) const LINK_LIMIT: &str = "OTEL_SPAN_LINK_COUNT_LIMIT";
/// The variables whose values are restricted to what is built in: the values, compared without case.
const RESTRICTED: [(&str, &[&str]); 7] = [
    ("OTEL_SDK_DISABLED", &["true", "false"]),
    ("OTEL_TRACES_EXPORTER", &["otlp", "none"]),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", &["grpc"]),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", &["grpc"]),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", &["none"]),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", &["none"]),
    ("OTEL_PROPAGATORS", &["tracecontext", "tracecontext,baggage", "baggage,tracecontext"]),
];
/// The samplers of the SDK, which compares them exactly.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// The variables that are whole numbers.
const NUMBERS: [&str; 9] = [
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    LINK_LIMIT,
];

/// A variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The variables that cannot be honoured, each with what was expected.
pub(super) fn problems() -> Vec<String> {
    let restricted = RESTRICTED.into_iter().filter_map(|(name, values)| {
        expect(name, &values.join(" or "), |value| {
            values.iter().any(|known| value.replace(' ', "").eq_ignore_ascii_case(known))
        })
    });
    let sampler = expect("OTEL_TRACES_SAMPLER", &SAMPLERS.join(" or "), |value| SAMPLERS.contains(&value));
    let ratio = expect("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", |value| {
        value.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio))
    });
    let numbers =
        NUMBERS.into_iter().filter_map(|name| expect(name, "a whole number", |value| value.parse::<u32>().is_ok()));
    restricted.chain(sampler).chain(ratio).chain(numbers).collect()
}

fn expect(name: &str, expected: &str, is_valid: impl FnOnce(&str) -> bool) -> Option<String> {
    let value = variable(name)?;
    (!is_valid(&value)).then(|| format!("{name}: expected {expected}, got {value:?}"))
}
