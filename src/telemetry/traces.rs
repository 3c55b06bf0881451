//! Exports traces as OpenTelemetry's environment variables ask: OTLP over gRPC, or not at all.
//!
//! A variable that cannot be honoured is a wrong setting: silently ignored, it would lose traces that an operator counts on
//! (docs/CONTRACT.md#3-settings). The SDK itself reads those of the sampler, the batches, the timeout and the headers.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::warn;

/// How often a failing export is logged.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The variables whose values are restricted to what is built in: the values, compared without case.
const RESTRICTED: [(&str, &[&str]); 5] = [
    ("OTEL_SDK_DISABLED", &["true", "false"]),
    ("OTEL_TRACES_EXPORTER", &["otlp", "none"]),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", &["grpc"]),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", &["grpc"]),
    ("OTEL_PROPAGATORS", &["tracecontext", "tracecontext,baggage", "baggage,tracecontext"]),
];

/// The provider of traces that are sent to `endpoint`, unless OpenTelemetry's variables name another one or switch traces off.
///
/// # Errors
/// A message that names each variable that cannot be honoured, and what was expected.
pub(super) fn provider(endpoint: Option<&str>) -> Result<Option<SdkTracerProvider>, String> {
    let problems: Vec<String> = RESTRICTED.into_iter().filter_map(|(name, values)| problem(name, values)).collect();
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let is = |name: &str, value: &str| variable(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
    let endpoint = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or(endpoint.map(str::to_owned));
    let Some(endpoint) = endpoint.filter(|_| !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none"))
    else {
        return Ok(None);
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(&endpoint);
    let exporter = if endpoint.starts_with("https:") {
        let tls = ClientTlsConfig::new();
        exporter.with_tls_config(match certificate()? {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_enabled_roots(),
        })
    } else {
        exporter
    };
    let exporter = exporter.build().map_err(|error| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))?;
    let exporter = LoggedExporter { exporter, last_logged: Mutex::new(None) };
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build()))
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn problem(name: &str, values: &[&str]) -> Option<String> {
    let value = variable(name)?;
    let is_known = values.iter().any(|known| value.replace(' ', "").eq_ignore_ascii_case(known));
    (!is_known).then(|| format!("{name}: expected {}, got {value:?}", values.join(" or ")))
}

/// The certificates that the collector's is verified against; `None` for the public ones.
fn certificate() -> Result<Option<Vec<u8>>, String> {
    for name in ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE", "SSL_CERT_FILE"] {
        if let Some(path) = variable(name) {
            return std::fs::read(&path).map(Some).map_err(|error| format!("{name}: cannot read {path:?}: {error}"));
        }
    }
    Ok(None)
}

fn resource() -> Resource {
    // The SDK's own detector of OTEL_SERVICE_NAME is left out: without a name it would set "unknown_service".
    let resource = Resource::builder_empty()
        .with_service_name("banklink")
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match variable("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// Logs why traces cannot be exported, at most once a minute. The exporter's own log lines may hold what it exports.
#[derive(Debug)]
struct LoggedExporter<E> {
    exporter: E,
    last_logged: Mutex<Option<Instant>>,
}

impl<E: SpanExporter> SpanExporter for LoggedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        if let Err(cause) = &result
            && let Ok(mut last_logged) = self.last_logged.lock()
            && last_logged.is_none_or(|at| at.elapsed() >= FAILURE_LOG_INTERVAL)
        {
            *last_logged = Some(Instant::now());
            warn!(%cause, spans, "traces cannot be exported");
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
