//! `POST /oauth2/token`, and the check of the token that a request of Lean's API carries.

use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::Instant;

use super::params::{Params, check_customer_id};
use super::problem::Problem;
use super::state::Shared;
use super::tokens::Scope;

/// What the scope of a LinkSDK token begins with; the customer's id follows.
const CUSTOMER_SCOPE: &str = "customer.";

/// Issues a token for client credentials. Every client id and secret is accepted.
pub(super) async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request", "expected a form");
    }
    let form = Params::parse(&body);
    if form.get("grant_type") != Some("client_credentials") {
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", "expected grant_type=client_credentials");
    }
    if form.get("client_id").is_none() || form.get("client_secret").is_none() {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client", "client_id and client_secret are required");
    }
    let text = form.get("scope").unwrap_or_default();
    let Some(scope) = scope(text) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_scope", "expected scope=api or scope=customer.<customer_id>");
    };
    let mut tokens = shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let (token, lifetime) = tokens.issue(scope, Instant::now());
    let answer =
        json!({ "access_token": token, "token_type": "bearer", "expires_in": lifetime.as_secs(), "scope": text });
    ([(CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

fn scope(text: &str) -> Option<Scope> {
    match text.strip_prefix(CUSTOMER_SCOPE) {
        Some(customer_id) => check_customer_id(customer_id).ok().map(|()| Scope::Customer),
        None => (text == "api").then_some(Scope::Api),
    }
}

/// An error as OAuth 2.0 prescribes it (RFC 6749, section 5.2).
fn refuse(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({ "error": error, "error_description": description }))).into_response()
}

/// Checks that a request carries a valid token for a backend.
pub(super) fn authorize(shared: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).unwrap_or_default();
    let tokens = shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    match tokens.scope(token.trim(), Instant::now()).filter(|_| scheme.eq_ignore_ascii_case("bearer")) {
        Some(Scope::Api) => Ok(()),
        Some(Scope::Customer) => Err(Problem::new(StatusCode::FORBIDDEN, "expected a token of scope api")),
        None => Err(Problem::new(StatusCode::UNAUTHORIZED, "the access token is missing, unknown or expired")),
    }
}
