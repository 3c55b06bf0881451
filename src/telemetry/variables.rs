//! OpenTelemetry's environment variables: which are set, and which cannot be honoured.
//!
//! One that cannot be honoured is a wrong setting: silently ignored, it would lose traces that an operator counts on
//! (docs/CONTRACT.md#3-settings). The SDK itself falls back to a default. A variable that is not about traces is not judged, whatever
//! it is called: a service `otel-collector` of Kubernetes puts `OTEL_COLLECTOR_PORT` and more into every container beside it.

/// How many links a span may have.
pub(super) const LINK_LIMIT: &str = "OTEL_SPAN_LINK_COUNT_LIMIT";

/// What a variable may be set to.
enum Expected {
    /// One of these, compared without case and spaces.
    Of(&'static [&'static str]),
    /// One of these exactly.
    Exactly(&'static [&'static str]),
    /// A number from 0 to 1.
    Ratio,
    /// A whole number of at least this size.
    Number(u32),
    /// `key=value`, comma separated. The values may be secrets.
    Pairs,
    /// A URL.
    Url,
    /// Any text; a file is read where it is used.
    Text,
}
use Expected::{Exactly, Number, Of, Pairs, Ratio, Text, Url};

const SAMPLERS: &[&str] = &[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// Baggage is in the default of OpenTelemetry, so it is accepted; there is none in what banklink sends.
const PROPAGATORS: &[&str] = &["tracecontext", "tracecontext,baggage", "baggage,tracecontext"];

/// The variables that are honoured. Those of the exporter also exist for traces alone, as `OTEL_EXPORTER_OTLP_TRACES_…`.
const KNOWN: [(&str, Expected); 26] = [
    ("OTEL_SDK_DISABLED", Of(&["true", "false"])),
    ("OTEL_TRACES_EXPORTER", Of(&["otlp", "none"])),
    // Of logs and metrics nothing is exported; metrics are scraped.
    ("OTEL_METRICS_EXPORTER", Of(&["none", "prometheus"])),
    ("OTEL_LOGS_EXPORTER", Of(&["none"])),
    ("OTEL_PROPAGATORS", Of(PROPAGATORS)),
    ("OTEL_TRACES_SAMPLER", Exactly(SAMPLERS)),
    ("OTEL_TRACES_SAMPLER_ARG", Ratio),
    ("OTEL_RESOURCE_ATTRIBUTES", Pairs),
    ("OTEL_BSP_SCHEDULE_DELAY", Number(1)),
    ("OTEL_BSP_MAX_QUEUE_SIZE", Number(1)),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", Number(1)),
    ("OTEL_BSP_EXPORT_TIMEOUT", Number(1)),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", Number(0)),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", Number(0)),
    (LINK_LIMIT, Number(0)),
    // No span has an event, and no link an attribute.
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", Number(0)),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", Number(0)),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", Url),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", Of(&["grpc"])),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", Of(&["none"])),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", Number(1)),
    ("OTEL_EXPORTER_OTLP_HEADERS", Pairs),
    // The scheme of the endpoint, which is required, decides.
    ("OTEL_EXPORTER_OTLP_INSECURE", Of(&["true", "false"])),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", Text),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", Text),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", Text),
];
/// How the names begin that are about traces, or about how all of OpenTelemetry is set up.
const ABOUT_TRACES: [&str; 9] = [
    "OTEL_TRACES_",
    "OTEL_SPAN_",
    "OTEL_BSP_",
    "OTEL_ATTRIBUTE_",
    "OTEL_EVENT_",
    "OTEL_LINK_",
    "OTEL_EXPORTER_OTLP_",
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
];
const OF_EXPORTER: &str = "OTEL_EXPORTER_OTLP_";
/// The exporters of what is not exported. Whether it should be is said by OTEL_METRICS_EXPORTER and OTEL_LOGS_EXPORTER.
const ABOUT_OTHERS: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_PROFILES_"];

/// A variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The value of an exporter's variable, such as `HEADERS`, and its name: that for traces, else that for everything.
pub(super) fn of_exporter(name: &str) -> Option<(String, String)> {
    let names = [format!("{OF_EXPORTER}TRACES_{name}"), format!("{OF_EXPORTER}{name}")];
    names.into_iter().find_map(|name| Some((variable(&name)?, name)))
}

/// The variables of this process that cannot be honoured, each with what was expected.
pub(super) fn problems() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("OTEL_")).collect();
    names.sort_unstable();
    names.iter().filter_map(|name| problem(name, &variable(name)?)).collect()
}

/// Why `value` cannot be honoured.
fn problem(name: &str, value: &str) -> Option<String> {
    let general = match name.strip_prefix(OF_EXPORTER).and_then(|rest| rest.strip_prefix("TRACES_")) {
        Some(rest) => format!("{OF_EXPORTER}{rest}"),
        None => name.to_owned(),
    };
    let Some((_, expected)) = KNOWN.iter().find(|(known, _)| *known == general) else {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        return (begins(&ABOUT_TRACES) && !begins(&ABOUT_OTHERS))
            .then(|| format!("{name}: not supported; docs/TRACES.md lists the variables that are"));
    };
    let known = value.replace(' ', "");
    let (is_valid, description) = match expected {
        Of(values) => (values.iter().any(|one| known.eq_ignore_ascii_case(one)), values.join(" or ")),
        Exactly(values) => (values.contains(&value), values.join(" or ")),
        Ratio => {
            (value.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio)), "a number from 0 to 1".to_owned())
        }
        Number(least) => (
            value.parse().is_ok_and(|number: u32| number >= *least),
            format!("a whole number from {least} to {}", u32::MAX),
        ),
        // The value may be a secret.
        Pairs => return (!are_pairs(value)).then(|| format!("{name}: expected key=value, comma separated")),
        Url => (value.starts_with("http://") || value.starts_with("https://"), "an http:// or https:// URL".to_owned()),
        Text => return None,
    };
    (!is_valid).then(|| format!("{name}: expected {description}, got {value:?}"))
}

/// Whether each pair has a key of visible characters, and a value. A comma at the end is allowed.
fn are_pairs(text: &str) -> bool {
    text.split_terminator(',').all(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or_default();
        let is_visible = |character: char| character.is_ascii_graphic();
        !key.trim().is_empty() && key.trim().chars().all(is_visible) && !value.trim().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_honoured_is_refused_and_what_is_not_about_traces_is_left_alone() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "garbage"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "=value"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "maybe"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b,garbage"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_CONFIG_FILE", "/etc/otel.yaml"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_QUEUESIZE", "10"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"),
            ("OTEL_PROPAGATORS", "none"),
        ] {
            let problem = problem(name, value).unwrap_or_default();
            assert!(problem.starts_with(&format!("{name}: ")), "{name}={value}: {problem}");
        }
        for (name, value) in [
            ("OTEL_SERVICE_NAME", "bank links"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod, k8s.pod.name=a=b,"),
            ("OTEL_RESOURCE_ATTRIBUTES_POD_NAME", "ingress-0"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "None"),
            ("OTEL_PROPAGATORS", "tracecontext, baggage"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector:4317"),
            ("OTEL_COLLECTOR_PORT_4317_TCP", "tcp://10.0.0.1:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Basic%20abc,x=y"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0"),
            ("OTEL_LOG_LEVEL", "info"),
        ] {
            assert_eq!(problem(name, value), None, "{name}={value}");
        }
    }

    #[test]
    fn a_header_is_not_repeated_in_an_error() {
        let problem = problem("OTEL_EXPORTER_OTLP_HEADERS", "authorization: secret-of-the-collector").unwrap();
        assert!(!problem.contains("secret-of"), "{problem}");
    }
}
