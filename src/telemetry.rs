//! Logs, metrics and traces: set up once, by the program, and used everywhere.
//!
//! No log line of ours carries a body or a secret. Those of libraries might, at whatever level RUST_LOG asks for: nothing is
//! let through of those that handle either, whose errors are logged where they are handled, and of others only warnings.

use std::io::IsTerminal;

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

/// Libraries that carry bodies and secrets, and may log them at any level.
const INDISCREET: [&str; 7] = ["lapin", "amq_protocol", "async_rs", "sqlx", "sea_orm", "hyper", "reqwest"];
/// Seconds; from half a millisecond, which one confirm takes, over what is promised and the longest that a batch is kept, to
/// what a webhook has behind it after its last retry.
const DURATIONS: [f64; 18] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 300.0, 1800.0, 7200.0];
const SIZES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl LogFormat {
    /// Reads `text` or `json`; of an empty text, what suits stderr.
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

/// What must be finished when the program ends.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Begins to log to stderr what is at least of `level`, unless RUST_LOG says otherwise, and, given an endpoint, to send traces
/// there. Once per process; call it inside the runtime.
///
/// # Errors
/// When RUST_LOG or the endpoint makes no sense, or logging has begun already: which of them, and why.
pub fn start(format: LogFormat, level: LevelFilter, otlp_endpoint: Option<&str>) -> Result<Telemetry, String> {
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env();
    let filter = filter.map_err(|error| format!("RUST_LOG: {error}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = otlp_endpoint.map(tracer_provider).transpose();
    let traces = traces.map_err(|error| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))?;
    let spans = traces.as_ref().map(|provider| {
        let ours = filter_fn(|metadata| metadata.target().starts_with("banklink"));
        tracing_opentelemetry::layer().with_tracer(provider.tracer("banklink")).with_filter(ours)
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(filter).with_filter(filter_fn(is_discreet)))
        .with(spans)
        .try_init()
        .map_err(|error| error.to_string())?;
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Sends what traces are left.
    pub fn finish(self) {
        if let Some(traces) = self.traces {
            let _ = traces.shutdown();
        }
    }
}

/// Begins to collect metrics. Once per process.
///
/// # Errors
/// When metrics are collected already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATIONS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZES)?
        .install_recorder()
}

/// A `traceparent` header as others sent it, if it is one (W3C Trace Context, version 00).
#[must_use]
pub fn valid_traceparent(header: &str) -> Option<&str> {
    let shape = "00-................................-................-..";
    let fits = |(byte, shape): (u8, u8)| byte == shape || (shape == b'.' && matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (header.len() == shape.len() && header.bytes().zip(shape.bytes()).all(fits)).then_some(header)
}

/// The current span as a `traceparent` header (W3C Trace Context), or what came in where no traces are sent.
#[must_use]
pub fn traceparent(came_in: Option<&str>) -> Option<String> {
    let mut carrier = std::collections::HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove("traceparent").or_else(|| came_in.map(str::to_owned))
}

/// Makes `span` a child of the span that a `traceparent` header names.
pub fn set_parent(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        let carrier = std::collections::HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
}

fn tracer_provider(endpoint: &str) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    use opentelemetry_otlp::WithExportConfig;
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = opentelemetry_sdk::Resource::builder();
    let resource = match service_name() {
        Some(name) => resource.with_service_name(name),
        None => resource,
    };
    let resource = resource.build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// What the process is called: as OTEL_SERVICE_NAME says, else as OTEL_RESOURCE_ATTRIBUTES does (`None`: the library reads
/// it), else `banklink`.
fn service_name() -> Option<String> {
    let given = |variable: &str| std::env::var(variable).unwrap_or_default();
    let among_attributes = || {
        let attributes = given("OTEL_RESOURCE_ATTRIBUTES");
        attributes
            .split(',')
            .any(|attribute| attribute.split('=').next().is_some_and(|key| key.trim() == "service.name"))
    };
    match given("OTEL_SERVICE_NAME") {
        name if !name.is_empty() => Some(name),
        _ if among_attributes() => None,
        _ => Some("banklink".to_owned()),
    }
}

fn is_discreet(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target.starts_with("banklink")
        || (*metadata.level() <= Level::WARN && !INDISCREET.iter().any(|library| target.starts_with(library)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_traceparent_of_the_right_shape_is_one() {
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
