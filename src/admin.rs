//! The admin address of every process: is it alive, can each role do its job, and the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::{BoxFuture, join_all};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::server;

/// Connections at a time: some probes and a scraper or two.
const MAX_CONNECTIONS: usize = 64;

/// How often the metrics' histograms are tidied, so that they do not grow while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long the answer to a check that costs something is good.
const KEPT: Duration = Duration::from_secs(1);

/// Something a role needs, and whether it is there.
pub type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A role of this process and what it needs.
pub struct Role {
    /// Its name.
    pub name: &'static str,
    /// Each thing it needs, by name.
    pub checks: Vec<(&'static str, Check)>,
}

/// A check out of a function that answers at once, or soon.
pub fn check<F, E>(check: impl Fn() -> F + Send + Sync + 'static) -> Check
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display,
{
    Box::new(move || {
        let answer = check();
        Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
    })
}

/// A check that costs something: asked by one at a time, and its answer kept for a second.
pub fn kept(check: Check) -> Check {
    let (check, last) = (Arc::new(check), Arc::new(Mutex::new(None::<(Instant, Result<(), String>)>)));
    Box::new(move || {
        let (check, last) = (Arc::clone(&check), Arc::clone(&last));
        Box::pin(async move {
            let mut last = last.lock().await;
            if let Some((at, answer)) = &*last
                && at.elapsed() < KEPT
            {
                return answer.clone();
            }
            let answer = check().await;
            *last = Some((Instant::now(), answer.clone()));
            answer
        })
    })
}

struct Admin {
    roles: Vec<Role>,
    metrics: PrometheusHandle,
}

/// Serves probes and metrics on `listener` until `stop`.
pub async fn run(listener: TcpListener, roles: Vec<Role>, metrics: PrometheusHandle, stop: CancellationToken) {
    let admin = Arc::new(Admin { roles, metrics: metrics.clone() });
    let router = Router::new()
        .route("/livez", get(async || Json(json!({ "status": "alive" }))))
        .route("/readyz", get(async |State(admin): State<Arc<Admin>>| admin.ready(None).await))
        .route(
            "/readyz/{role}",
            get(async |State(admin): State<Arc<Admin>>, Path(role): Path<String>| admin.ready(Some(&role)).await),
        )
        .route("/metrics", get(async |State(admin): State<Arc<Admin>>| admin.render()))
        .with_state(admin);
    let upkeep = async {
        while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
            metrics.run_upkeep();
        }
    };
    let answer = move |_peer, request: Request<Incoming>| router.clone().call(request);
    tokio::join!(server::serve(listener, MAX_CONNECTIONS, answer, stop.clone()), upkeep);
}

impl Admin {
    /// 200 only if every role asked about can do its job; else 503, with the state of each check.
    async fn ready(&self, role: Option<&str>) -> Response {
        let asked = self.roles.iter().filter(|known| role.is_none_or(|role| role == known.name));
        let states = join_all(asked.map(state)).await;
        // A role that is not of this process cannot do its job here.
        let ready = !states.is_empty() && states.iter().all(|(_, ready, _)| *ready);
        let roles: Map<String, Value> = states.into_iter().map(|(name, _, state)| (name.to_owned(), state)).collect();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(json!({ "status": word(ready), "roles": roles }))).into_response()
    }

    fn render(&self) -> Response {
        ([(CONTENT_TYPE, "text/plain; version=0.0.4")], self.metrics.render()).into_response()
    }
}

async fn state(role: &Role) -> (&'static str, bool, Value) {
    let answers = join_all(role.checks.iter().map(async |(name, check)| (*name, check().await))).await;
    let ready = answers.iter().all(|(_, answer)| answer.is_ok());
    let checks: Map<String, Value> = answers
        .into_iter()
        .map(|(name, answer)| (name.to_owned(), answer.map_or_else(|cause| json!(cause), |()| json!("ok"))))
        .collect();
    (role.name, ready, json!({ "status": word(ready), "checks": checks }))
}

fn word(ready: bool) -> &'static str {
    if ready { "ready" } else { "not ready" }
}
