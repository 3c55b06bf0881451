//! Logs, metrics and traces, set up once at the start of the program.
//!
//! banklink logs neither bodies nor secrets. Libraries might, at any level that RUST_LOG enables. So of those that
//! handle them every log line is dropped (banklink logs their errors), and of other libraries all but warnings and errors.

mod traces;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
pub use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries that handle bodies or secrets, and may log them at any level.
const SENSITIVE_LIBRARIES: [&str; 7] = ["lapin", "amq_protocol", "async_rs", "sqlx", "sea_orm", "hyper", "reqwest"];
/// Histogram buckets in seconds, from the time of one confirm on. 5 s is the promised time to resume.
const SECONDS_BUCKETS: [f64; 21] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0,
    1800.0, 3600.0, 7200.0,
];
/// How many of the buckets a metric uses. Lean waits 10 s for an answer; a batch is held for at most 300 s; a webhook is up to 2
/// h old after its last retry.
const BUCKETS: [(&str, usize); 3] = [
    ("banklink_ingress_request_duration_seconds", 14),
    ("banklink_worker_batch_duration_seconds", 17),
    ("banklink_link_latency_seconds", 21),
];
const SIZE_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Parses `text` or `json`. An empty string means `text` if stderr is a terminal, else `json`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "" if std::io::stderr().is_terminal() => Some(Self::Text),
            "" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Where traces are sent.
#[derive(Clone, Copy, Debug)]
pub enum Traces<'a> {
    /// Nowhere: for commands.
    Off,
    /// To this endpoint, if there is one and OpenTelemetry's variables do not say otherwise.
    To(Option<&'a str>),
}

/// Whether traces are exported. While they are not, spans would only cost time.
static TRACED: AtomicBool = AtomicBool::new(false);

/// Running telemetry. Call [`finish`](Self::finish) before the program ends, or the last traces are lost.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging to stderr at `level`, unless RUST_LOG overrides it, and exporting traces. Call it once per process, inside the Tokio runtime.
///
/// # Errors
/// A message that names the cause, when RUST_LOG, the endpoint or a variable of OpenTelemetry is invalid, or logging was started
/// before.
pub fn start(format: LogFormat, level: LevelFilter, traces: Traces<'_>) -> Result<Telemetry, String> {
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env();
    let filter = filter.map_err(|error| format!("RUST_LOG: {error}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal() && !is_colour_unwanted()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = match traces {
        Traces::Off => None,
        Traces::To(endpoint) => traces::provider(endpoint)?,
    };
    let spans = traces.as_ref().map(|provider| {
        let ours = filter_fn(|metadata| metadata.target().starts_with("banklink"));
        tracing_opentelemetry::layer().with_tracer(provider.tracer("banklink")).with_filter(ours)
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(filter).with_filter(filter_fn(is_loggable)))
        .with(spans)
        .try_init()
        .map_err(|error| error.to_string())?;
    TRACED.store(traces.is_some(), Ordering::Relaxed);
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Exports the traces that are still buffered.
    pub fn finish(self) {
        if let Some(traces) = self.traces {
            let _ = traces.shutdown();
        }
    }
}

/// Starts collecting metrics. Call it once per process.
///
/// # Errors
/// [`BuildError::FailedToSetGlobalRecorder`] when it was called before.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let sizes = Matcher::Suffix("_size".to_owned());
    let mut builder = PrometheusBuilder::new().set_buckets_for_metric(sizes, &SIZE_BUCKETS)?;
    for (metric, buckets) in BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full(metric.to_owned()), &SECONDS_BUCKETS[..buckets])?;
    }
    let handle = builder.install_recorder()?;
    describe_gauge!("banklink_build_info", "Always 1; the labels say which version runs.");
    // Set at build time, to the commit that is built.
    let (version, revision) = (env!("CARGO_PKG_VERSION"), option_env!("BANKLINK_REVISION").unwrap_or("unknown"));
    gauge!("banklink_build_info", "version" => version, "revision" => revision).set(1);
    Ok(handle)
}

/// Returns `header` if it is a `traceparent` (W3C Trace Context, version 00).
#[must_use]
pub fn valid_traceparent(header: &str) -> Option<&str> {
    let shape = "00-................................-................-..";
    let fits = |(byte, shape): (u8, u8)| byte == shape || (shape == b'.' && matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (header.len() == shape.len() && header.bytes().zip(shape.bytes()).all(fits)).then_some(header)
}

/// The span that `span` makes, as a child of the span in a `traceparent` header; none while traces are not exported.
pub fn traced(traceparent: Option<&str>, span: impl FnOnce() -> Span) -> Span {
    if !TRACED.load(Ordering::Relaxed) {
        return Span::none();
    }
    let span = span();
    if let Some(traceparent) = traceparent {
        let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
    span
}

/// The current span as a `traceparent` header; `received` if traces are not exported, to continue the sender's trace.
#[must_use]
pub fn traceparent(received: Option<&str>) -> Option<String> {
    if !TRACED.load(Ordering::Relaxed) {
        return received.map(str::to_owned);
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove("traceparent").or_else(|| received.map(str::to_owned))
}

/// Whether NO_COLOR is set and not empty: <https://no-color.org>.
fn is_colour_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether a line may be logged: see the module's documentation.
fn is_loggable(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target.starts_with("banklink")
        || (*metadata.level() <= Level::WARN && !SENSITIVE_LIBRARIES.iter().any(|library| target.starts_with(library)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_traceparent_is_refused() {
        let right = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(valid_traceparent(right), Some(right));
        for wrong in [
            "",
            "00",
            &right.to_uppercase(),
            &right.replace("00-4", "01-4"),
            &format!("{right}0"),
            &right.replace('7', "\0"),
        ] {
            assert_eq!(valid_traceparent(wrong), None, "{wrong:?}");
        }
    }
}
