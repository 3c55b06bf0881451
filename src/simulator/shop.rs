//! The backend of the shop's page: it knows the read API's token, which the page must not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bank_link_api::{self, BankLinks};
use super::params::{Params, check_customer_id, json};
use super::problem::Problem;
use super::state::Shared;

/// Maximum time that a page may wait for a change, as long as the read API allows.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Refuses requests under a name that could be a stranger's: a page of `evil.example`, whose name resolves to this address, is
/// of the same origin for the browser (DNS rebinding), and must not read bank links with the simulator's token.
pub(super) async fn refuse_other_names(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if shared.settings.api.is_none() || is_local_name(host) {
        return next.run(request).await;
    }
    Problem::new(StatusCode::FORBIDDEN, "open the page by address or by a name without dots").into_response()
}

/// Whether a `Host` header holds an address, or a name that no stranger can register: one without dots, or below `localhost`.
fn is_local_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
    let name = authority.host().trim_end_matches('.');
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok() || !name.contains('.') || name.to_ascii_lowercase().ends_with(".localhost")
}

/// `GET /shop/config`: what the page needs to know. The app token is a placeholder; the simulator accepts any.
pub(super) async fn config(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "default_customer_id": shared.default_customer,
        "dialect": shared.settings.dialect.name(),
        "permissions": shared.settings.dialect.permissions(),
        "app_token": "simulated-app-token",
        "has_api": shared.settings.api.is_some(),
    }))
}

/// `GET /shop/bank-links?customer=…&wait=…&cursor=…`: asks the read API.
pub(super) async fn bank_links(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Json<BankLinks>, Problem> {
    let query = Params::parse(query.unwrap_or_default().as_bytes());
    let customer_id = query.required("customer")?;
    check_customer_id(customer_id)?;
    let wait = query.parsed("wait", "a duration of at most 60s", |text| {
        humantime::parse_duration(text).ok().filter(|wait| *wait <= MAX_WAIT)
    })?;
    let no_api = || Problem::new(StatusCode::NOT_FOUND, "no API is set: start the simulator with --api-url");
    let api = shared.settings.api.as_ref().ok_or_else(no_api)?;
    bank_link_api::bank_links(&shared, api, customer_id, wait, query.get("cursor")).await.map(Json)
}

/// The body of `POST /shop/reconnects`.
#[derive(Deserialize)]
struct Reconnect {
    customer_id: String,
    entity_id: Uuid,
}

/// `POST /shop/reconnects`: a real backend gets the id of a reconnect from Lean, when a call needs the customer's login again.
pub(super) async fn offer_reconnect(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Problem> {
    let Reconnect { customer_id, entity_id } = json(&body)?;
    let offered = shared.state().records.offer_reconnect(&customer_id, entity_id);
    let unknown =
        || Problem::not_found("the simulator does not know this link: it was restarted since, or is not its own");
    Ok(Json(json!({ "reconnect_id": offered.ok_or_else(unknown)? })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_without_dots_are_local() {
        for host in ["127.0.0.1:9470", "[::1]:9470", "localhost", "simulator:9470", "shop.localhost:1", "192.168.1.2"] {
            assert!(is_local_name(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9470", "127.0.0.1.evil.example", "", "localhost.evil.example"] {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
