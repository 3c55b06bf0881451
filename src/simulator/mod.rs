//! A stand-in for Lean, for demonstrations, tests, and integrating without an account: a shop's page with a LinkSDK, signed
//! webhooks in both dialects on Lean's retry timetable, the token endpoint, the Events API and the entities of the Data API.
//!
//! It depends on nothing else of banklink but its lowest layer. It keeps everything in memory, with bounds, so an end at any
//! moment does no harm: what was in progress or to be retried is gone, as are the links. What it draws by chance follows from
//! its seed, in the order of the requests.

mod assets;
mod bank_link_api;
mod banks;
mod control;
mod deliver;
mod deliveries;
mod dialect;
mod fate;
mod lean_api;
mod link;
mod oauth;
mod params;
mod problem;
mod queue;
mod records;
mod sdk;
mod settings;
mod shop;
mod state;
mod timetable;
mod tokens;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use reqwest::redirect;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub use dialect::Dialect;
pub use fate::Odds;
pub use settings::{ReadApi, Settings};

use crate::server::{self, TrackedBody};
use deliver::Deliverer;
use problem::Problem;
use state::Shared;
use timetable::Timetable;

/// Maximum number of connections: browsers, a reconciler, and what tests open.
const MAX_CONNECTIONS: usize = 512;
/// Maximum size of a request's body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Maximum time for a request, above the longest that a page may wait for the read API.
const REQUEST_DEADLINE: Duration = Duration::from_secs(75);
/// The page loads only what the simulator serves, and no other page may frame it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The simulator.
pub struct Simulator {
    shared: Arc<Shared>,
}

impl Simulator {
    /// A simulator that serves until `stop`.
    ///
    /// # Errors
    /// When no HTTP client can be created.
    pub fn new(settings: Settings, stop: CancellationToken) -> Result<Self, reqwest::Error> {
        // reqwest is built without a TLS provider and uses the process's default. It fails only if one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Without redirects: another server must get neither a body nor a token.
        let http = reqwest::Client::builder().redirect(redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { shared: Shared::new(settings, http, stop) })
    }

    /// Serves on `listener` and posts webhooks until `stop`, then returns once what is in progress has ended.
    pub async fn run(self, listener: TcpListener) {
        let router = router(Arc::clone(&self.shared));
        let handler = move |_: SocketAddr, request: Request<TrackedBody>| {
            let mut router = router.clone();
            async move {
                let response = timeout(REQUEST_DEADLINE, router.call(request)).await;
                response.unwrap_or_else(|_| Ok(StatusCode::REQUEST_TIMEOUT.into_response()))
            }
        };
        let limits = server::Limits::with_max_connections(MAX_CONNECTIONS);
        let serving = server::serve(listener, limits, handler, self.shared.stop.clone());
        tokio::join!(serving, Deliverer::new(Arc::clone(&self.shared)).run());
    }
}

/// When a webhook is posted again, after the first post.
#[must_use]
pub fn retry_delays(time_scale: u32) -> Vec<Duration> {
    Timetable::new(time_scale).retries().to_vec()
}

fn router(shared: Arc<Shared>) -> Router {
    let sdk = Router::new()
        .route("/sdk.js", get(async || assets::SDK_SCRIPT))
        .route("/sdk.css", get(async || assets::SDK_STYLE))
        .route("/sdk/banks", get(sdk::banks))
        .route("/sdk/links", post(sdk::connect).options(sdk::preflight))
        .route("/sdk/reconnects", post(sdk::reconnect).options(sdk::preflight))
        .layer(map_response(sdk::allow_any_origin));
    let shop = Router::new()
        .route("/shop/config", get(shop::config))
        .route("/shop/bank-links", get(shop::bank_links))
        .route("/shop/reconnects", post(shop::offer_reconnect))
        .layer(from_fn_with_state(Arc::clone(&shared), shop::refuse_other_names));
    Router::new()
        .route("/", get(async || ([(CONTENT_SECURITY_POLICY, PAGE_POLICY)], assets::PAGE)))
        .route("/page.js", get(async || assets::PAGE_SCRIPT))
        .route("/style.css", get(async || assets::PAGE_STYLE))
        .route("/icon.svg", get(async || assets::ICON))
        .route("/oauth2/token", post(oauth::token))
        .route("/events/v1", get(lean_api::events))
        .route("/customers/v1/entities", get(lean_api::entities))
        .route("/customers/v1/{customer_id}/entities", get(lean_api::entities_of))
        .route("/customers/v1/{customer_id}/entities/{entity_id}", get(lean_api::entity))
        .route("/simulate/links", post(control::create_links))
        .route("/simulate/status", get(control::status))
        .merge(sdk)
        .merge(shop)
        .fallback(async || Problem::not_found("the simulator has no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong method for this path")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(map_response(harden))
        .with_state(shared)
}

/// Headers of every response.
async fn harden(mut response: Response) -> Response {
    for (name, value) in
        [(X_CONTENT_TYPE_OPTIONS, "nosniff"), (REFERRER_POLICY, "no-referrer"), (X_FRAME_OPTIONS, "DENY")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
