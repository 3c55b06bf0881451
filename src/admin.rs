//! The admin address of every process: liveness, readiness of each role, and metrics (docs/CONTRACT.md#4-http).

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::readiness::Readiness;
use crate::server::{self, TrackedBody};

/// The OpenAPI 3.1 document of the admin address.
pub const DOCUMENT: &str = include_str!("admin_openapi.json");
/// The roles that a process may run.
const ROLES: [&str; 6] = ["ingress", "worker", "relay", "api", "reconciler", "console"];
/// Maximum number of connections: probes and scrapers.
const MAX_CONNECTIONS: usize = 64;

/// How often the histograms are drained, so that they do not grow without a scraper.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Serves probes and metrics on `listener` until `stop`. `readiness` reports on the named role of this process, or all.
pub async fn run<R, F>(listener: TcpListener, metrics: PrometheusHandle, readiness: R, stop: CancellationToken)
where
    R: Fn(Option<String>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Vec<Readiness>> + Send + 'static,
{
    let (of_all, of_one, scraped) = (readiness.clone(), readiness, metrics.clone());
    let process = metrics_process::Collector::default();
    process.describe();
    let router = Router::new()
        .route("/livez", get(async || Json(json!({ "status": "alive" }))))
        .route("/readyz", get(async move || respond(&of_all(None).await)))
        .route(
            "/readyz/{role}",
            get(async move |Path(role): Path<String>| match ROLES.contains(&role.as_str()) {
                true => respond(&of_one(Some(role)).await),
                false => StatusCode::NOT_FOUND.into_response(),
            }),
        )
        .route(
            "/metrics",
            get(async move || {
                process.collect();
                ([(CONTENT_TYPE, "text/plain; version=0.0.4")], scraped.render())
            }),
        );
    let upkeep = async {
        while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
            metrics.run_upkeep();
        }
    };
    let limits = server::Limits::with_max_connections(MAX_CONNECTIONS);
    let handler = move |_, request: Request<TrackedBody>| router.clone().call(request);
    tokio::join!(server::serve(listener, limits, handler, stop.clone()), upkeep);
}

/// 200 only if there is a role to report on and every one is ready; else 503. The body names each check's state.
fn respond(roles: &[Readiness]) -> Response {
    let is_ready = !roles.is_empty() && roles.iter().all(Readiness::is_ready);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let roles: BTreeMap<&str, Value> = roles.iter().map(|role| (role.role, state(role))).collect();
    (status, Json(json!({ "status": word(is_ready), "roles": roles }))).into_response()
}

fn state(role: &Readiness) -> Value {
    let checks = role.checks.iter().map(|(name, result)| (*name, result.err().unwrap_or("ok")));
    json!({ "status": word(role.is_ready()), "checks": checks.collect::<BTreeMap<_, _>>() })
}

fn word(is_ready: bool) -> &'static str {
    if is_ready { "ready" } else { "not ready" }
}
