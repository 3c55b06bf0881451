//! Logs, metrics and traces, set up once at the start of the program.
//!
//! banklink logs neither bodies nor secrets. Libraries might, at any level that RUST_LOG enables. So of those that
//! handle them every log line is dropped (banklink logs their errors), and of other libraries all but warnings and errors.

mod spans;
mod traceparent;
mod traces;
mod variables;

use std::io::IsTerminal;

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry_sdk::trace::SdkTracerProvider;
pub use spans::{Span, SpanKind};
pub use traceparent::{trace_id, valid_traceparent};
pub use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries that handle bodies or secrets, and may log them at any level.
const SENSITIVE_LIBRARIES: [&str; 7] = ["lapin", "amq_protocol", "async_rs", "sqlx", "sea_orm", "hyper", "reqwest"];
/// The log lines of OpenTelemetry about spans that were dropped because a collector is slow: once when it begins, and their number at
/// the end.
const SPANS_DROPPED: [&str; 2] = ["BatchSpanProcessor.SpanDroppingStarted", "BatchSpanProcessor.SpansDropped"];
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
    tracing_subscriber::registry()
        .with(lines.with_filter(filter).with_filter(filter_fn(is_loggable)))
        .try_init()
        .map_err(|error| error.to_string())?;
    if let Some(provider) = &traces {
        spans::export_with(traces::tracer(provider));
    }
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

/// Whether NO_COLOR is set and not empty: <https://no-color.org>.
fn is_colour_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether a line may be logged: see the module's documentation.
fn is_loggable(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    // Its other lines are about what `traces.rs` reports, or `variables.rs` refuses.
    if target.starts_with("opentelemetry") {
        return SPANS_DROPPED.contains(&metadata.name());
    }
    target.starts_with("banklink")
        || (*metadata.level() <= Level::WARN && !SENSITIVE_LIBRARIES.iter().any(|library| target.starts_with(library)))
}
