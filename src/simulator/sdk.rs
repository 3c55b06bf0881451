//! What the LinkSDK stand-in asks. Pages of any origin may: the SDK is for the pages of others.
//!
//! No answer carries an entity id, as none of Lean's does: that is what the webhook is for.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::banks::{BANKS, Bank};
use super::params::{check_customer_id, json};
use super::problem::Problem;
use super::state::Shared;
use super::webhook::Kind;

/// Answers the question that a browser asks before it posts for a page of another origin; the headers say yes.
pub(super) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Lets pages of any origin ask.
pub(super) async fn allow_any_origin(mut response: Response) -> Response {
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
        (HeaderName::from_static("access-control-allow-private-network"), "true"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `GET /sdk/banks`: the mock banks, and what a customer can grant at each.
pub(super) async fn banks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let dialect = shared.settings.dialect;
    let bank = |bank: &Bank| {
        let mut value = json!(bank);
        value["permissions"] = dialect.permissions_at(bank).collect();
        value
    };
    Json(json!({ "dialect": dialect.name(), "banks": BANKS.iter().map(bank).collect::<Vec<_>>() }))
}

/// The body of `POST /sdk/links`.
#[derive(Deserialize)]
struct Connect {
    customer_id: String,
    bank_identifier: String,
    permissions: Vec<String>,
}

/// `POST /sdk/links`: the customer has logged in at a bank and granted permissions. What cannot be granted there is left out.
pub(super) async fn connect(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Problem> {
    let Connect { customer_id, bank_identifier, permissions } = json(&body)?;
    check_customer_id(&customer_id)?;
    let unknown_bank = || Problem::bad_request("bank_identifier: unknown; see GET /sdk/banks");
    let bank = Bank::find(&bank_identifier).ok_or_else(unknown_bank)?;
    let granted = shared.settings.dialect.permissions_at(bank);
    let granted = granted.filter(|permission| permissions.iter().any(|asked| asked == permission)).collect();
    let message = match shared.connect(&customer_id, bank, granted)? {
        Kind::Created => "Customer created entity successfully",
        Kind::Updated | Kind::Reconnected => "Customer updated entity successfully",
    };
    Ok(success("LINK", message))
}

/// The body of `POST /sdk/reconnects`.
#[derive(Deserialize)]
struct Reconnect {
    reconnect_id: Uuid,
}

/// `POST /sdk/reconnects`: the customer has logged in at their bank again.
pub(super) async fn reconnect(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Problem> {
    let Reconnect { reconnect_id } = json(&body)?;
    shared.reconnect(reconnect_id)?;
    Ok(success("LINK", "Customer reconnected entity successfully"))
}

/// What the SDK passes on to its callback.
fn success(method: &str, message: &str) -> Json<Value> {
    Json(json!({ "status": "SUCCESS", "method": method, "message": message }))
}
