//! The paths of the API. Every request is authenticated first, and counted last.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::paths::{EVENTS, LINK, LINKS, OPENAPI};
use super::problem::Problem;
use super::report::NO_ROUTE;
use super::{Api, links, stream, wait};

/// The OpenAPI 3.1 document of the API. Tests compare it with what the API does, and with the types that it answers with.
pub const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route(LINK, get(links::link))
        .route(LINKS, get(wait::links))
        .route(EVENTS, get(stream::events))
        .route(OPENAPI, get(async || ([(CONTENT_TYPE, "application/json")], DOCUMENT)))
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(from_fn_with_state(Arc::clone(&api), authenticate_and_count))
        .with_state(api)
}

async fn authenticate_and_count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = match api.settings.tokens.allow(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => Problem::Unauthorized(refused).into_response(),
    };
    api.metrics.count_request(route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str), response.status().as_str());
    response
}
