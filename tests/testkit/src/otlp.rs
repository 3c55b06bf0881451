//! A receiver of traces, as an OpenTelemetry collector is: OTLP over gRPC.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::tls::Certificates;
use crate::waiting::eventually;

/// A span as it arrived.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    /// Its name.
    pub name: String,
    /// `SERVER`, `CLIENT`, `PRODUCER`, `CONSUMER` or `INTERNAL`.
    pub kind: String,
    /// The id of its trace, in hex.
    pub trace_id: String,
    /// Its own id, in hex.
    pub span_id: String,
    /// The id of its parent, in hex; empty for a root.
    pub parent_id: String,
    /// Start and end, in nanoseconds since 1970.
    pub times: (u64, u64),
    /// What it says.
    pub attributes: Map<String, Value>,
    /// What the process says about itself.
    pub resource: Map<String, Value>,
    /// The spans that it is linked to, each as trace and span id.
    pub links: Vec<(String, String)>,
    /// Whether its status is an error.
    pub is_error: bool,
    /// The text of its status.
    pub message: String,
    /// The schema of its names, and the name and version of what made it.
    pub scope: [String; 3],
}

impl ReceivedSpan {
    /// The value of an attribute; `null` if it has none.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or(&Value::Null)
    }

    /// The span in a `traceparent` header, if it was sampled.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    /// Whether it is linked to `other`.
    #[must_use]
    pub fn is_linked_to(&self, other: &Self) -> bool {
        self.links.iter().any(|(trace, span)| *trace == other.trace_id && *span == other.span_id)
    }

    /// Whether `other` is its parent.
    #[must_use]
    pub fn is_child_of(&self, other: &Self) -> bool {
        self.trace_id == other.trace_id && self.parent_id == other.span_id
    }
}

/// A running receiver. Dropping it stops it.
pub struct Receiver {
    /// The endpoint for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: String,
    received: Arc<Mutex<Vec<ReceivedSpan>>>,
    headers: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver on a free port.
    pub async fn start() -> Self {
        Self::serve("http", Server::builder()).await
    }

    /// Starts a receiver that speaks TLS and wants a certificate of the same authority from its clients.
    pub async fn start_with_tls(certificates: &Certificates) -> Self {
        let file = |path| std::fs::read(path).expect("a file");
        let identity = Identity::from_pem(file(certificates.certificate()), file(certificates.key()));
        let tls = ServerTlsConfig::new().identity(identity);
        let tls = tls.client_ca_root(Certificate::from_pem(file(certificates.root())));
        Self::serve("https", Server::builder().tls_config(tls).expect("certificates")).await
    }

    async fn serve(scheme: &str, mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let (received, headers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let service = TraceServiceServer::new(Collector(Arc::clone(&received), Arc::clone(&headers)));
        let serving = server.add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move { serving.await.expect("the receiver serves") });
        Self { endpoint, received, headers, server }
    }

    /// The header `authorization` of each request that had one.
    #[must_use]
    pub fn authorizations(&self) -> Vec<String> {
        self.headers.lock().expect("not poisoned").clone()
    }

    /// Everything that has arrived, in order of the start.
    #[must_use]
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        let mut spans = self.received.lock().expect("not poisoned").clone();
        spans.sort_by_key(|span| span.times);
        spans
    }

    /// Waits until `find` finds what it looks for among the spans.
    pub async fn until<T>(&self, what: &str, find: impl Fn(&[ReceivedSpan]) -> Option<T>) -> T {
        eventually(what, async || find(&self.spans())).await
    }

    /// Waits for a span that `is_it`.
    pub async fn until_span(&self, what: &str, is_it: impl Fn(&ReceivedSpan) -> bool) -> ReceivedSpan {
        self.until(what, |spans| spans.iter().find(|span| is_it(span)).cloned()).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Collector(Arc<Mutex<Vec<ReceivedSpan>>>, Arc<Mutex<Vec<String>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        self.1.lock().expect("not poisoned").extend(authorization.map(str::to_owned));
        let spans = request.into_inner().resource_spans.into_iter().flat_map(received);
        self.0.lock().expect("not poisoned").extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn received(of_resource: ResourceSpans) -> Vec<ReceivedSpan> {
    let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
    let of_scopes = of_resource.scope_spans.into_iter().flat_map(|of_scope| {
        let InstrumentationScope { name, version, .. } = of_scope.scope.unwrap_or_default();
        let scope = [of_scope.schema_url, name, version];
        of_scope.spans.into_iter().map(move |span| (span, scope.clone()))
    });
    of_scopes.map(|(span, scope)| read(span, scope, resource.clone())).collect()
}

fn read(span: Span, scope: [String; 3], resource: Map<String, Value>) -> ReceivedSpan {
    let status = span.status.clone().unwrap_or_default();
    ReceivedSpan {
        kind: SpanKind::try_from(span.kind).expect("a kind").as_str_name().replace("SPAN_KIND_", ""),
        trace_id: hex::encode(&span.trace_id),
        span_id: hex::encode(&span.span_id),
        parent_id: hex::encode(&span.parent_span_id),
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
        links: span.links.iter().map(|link| (hex::encode(&link.trace_id), hex::encode(&link.span_id))).collect(),
        is_error: status.code() == StatusCode::Error,
        message: status.message,
        attributes: attributes(span.attributes),
        name: span.name,
        resource,
        scope,
    }
}

fn attributes(attributes: Vec<KeyValue>) -> Map<String, Value> {
    let read = attributes.into_iter().map(|KeyValue { key, value, .. }| {
        let value = match value.and_then(|value| value.value) {
            Some(AnyValue::StringValue(text)) => json!(text),
            Some(AnyValue::IntValue(number)) => json!(number),
            Some(AnyValue::BoolValue(value)) => json!(value),
            other => panic!("{key}: {other:?}"),
        };
        (key, value)
    });
    read.collect::<BTreeMap<_, _>>().into_iter().collect()
}
