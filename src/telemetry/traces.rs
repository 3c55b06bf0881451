//! Exports traces as OpenTelemetry's environment variables ask: OTLP over gRPC, or not at all.
//!
//! The SDK itself reads the variables of the sampler, the batches, the limits, the timeout and the headers. It exports from a thread of
//! its own, out of a queue of bounded length (2048 unless a variable says otherwise): a collector that is slow or away costs spans,
//! never time.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use tracing::warn;
use uuid::Uuid;

use super::variables::{LINK_LIMIT, of_exporter, problems, variable};

/// How often a failing export is logged.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The names of spans and attributes are those of this version of OpenTelemetry's semantic conventions.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";

/// How many links a span may have unless OpenTelemetry's variable says otherwise: one for each message of a batch. The SDK's own
/// limit, 128, is below the default size of a batch.
const MAX_LINKS: u32 = 1024;

/// The provider of traces that are sent to `endpoint`, unless OpenTelemetry's variables name another one or switch traces off.
///
/// # Errors
/// A message that names each variable that cannot be honoured, and what was expected.
pub(super) fn provider(endpoint: Option<&str>) -> Result<Option<SdkTracerProvider>, String> {
    let is = |name: &str, value: &str| variable(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") {
        return Ok(None);
    }
    let problems = problems();
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let endpoint = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or(endpoint.map(str::to_owned));
    let Some(endpoint) = endpoint.filter(|_| !is("OTEL_TRACES_EXPORTER", "none")) else { return Ok(None) };
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(&endpoint);
    let exporter = if endpoint.starts_with("https:") { exporter.with_tls_config(tls()?) } else { exporter };
    let exporter = exporter.build().map_err(|error| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))?;
    let exporter = LoggedExporter { exporter, last_logged: Mutex::new(None) };
    let mut provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource());
    if variable(LINK_LIMIT).is_none() {
        provider = provider.with_max_links_per_span(MAX_LINKS);
    }
    Ok(Some(provider.build()))
}

/// Makes the spans of this program.
pub(super) fn tracer(provider: &SdkTracerProvider) -> SdkTracer {
    let scope = InstrumentationScope::builder("banklink").with_version(env!("CARGO_PKG_VERSION"));
    provider.tracer_with_scope(scope.with_schema_url(SCHEMA_URL).build())
}

/// How the collector is verified, and what this process shows to it.
fn tls() -> Result<ClientTlsConfig, String> {
    // SSL_CERT_FILE replaces the system's authorities, as for every other connection.
    let authorities = match of_exporter("CERTIFICATE") {
        Some(file) => Some(file),
        None => variable("SSL_CERT_FILE").map(|path| (path, "SSL_CERT_FILE".to_owned())),
    };
    let tls = match authorities.map(read).transpose()? {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_enabled_roots(),
    };
    match (of_exporter("CLIENT_CERTIFICATE"), of_exporter("CLIENT_KEY")) {
        (Some(certificate), Some(key)) => Ok(tls.identity(Identity::from_pem(read(certificate)?, read(key)?))),
        (None, None) => Ok(tls),
        (Some((_, name)), None) | (None, Some((_, name))) => Err(format!(
            "{name}: expected OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY, or neither"
        )),
    }
}

/// Reads the file that a variable names.
fn read((path, name): (String, String)) -> Result<Vec<u8>, String> {
    std::fs::read(&path).map_err(|error| format!("{name}: cannot read {path:?}: {error}"))
}

/// What every span says about the process. OTEL_RESOURCE_ATTRIBUTES may say otherwise.
fn resource() -> Resource {
    // The SDK's own detector of OTEL_SERVICE_NAME is left out: without a name it would set "unknown_service".
    let resource = Resource::builder_empty()
        .with_service_name("banklink")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", Uuid::new_v4().to_string()))
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

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span, SpanContext, SpanId, TraceFlags, TraceId, TraceState, Tracer};

    use super::*;

    #[tokio::test]
    async fn a_span_has_room_for_a_link_to_each_message_of_a_batch() {
        let provider = provider(Some("http://127.0.0.1:1")).unwrap().unwrap();
        let mut span = tracer(&provider).start("process");
        for number in 1..=256 {
            let (trace, id) = (TraceId::from(number), SpanId::from(1));
            span.add_link(SpanContext::new(trace, id, TraceFlags::SAMPLED, true, TraceState::NONE), Vec::new());
        }
        assert_eq!(span.exported_data().unwrap().links.len(), 256);
    }
}
