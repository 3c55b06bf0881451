//! What the simulator has that Lean has not: links without a browser, and counts.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::params::{check_customer_id, json};
use super::problem::Problem;
use super::state::Shared;

/// Maximum number of links in one request.
const MAX_COUNT: usize = 10_000;

/// The body of `POST /simulate/links`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Links {
    count: usize,
    customer_id: Option<String>,
}

/// `POST /simulate/links`: creates links, each of a new customer or all of one.
pub(super) async fn create_links(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Problem> {
    let Links { count, customer_id } = json(&body)?;
    if !(1..=MAX_COUNT).contains(&count) {
        return Err(Problem::bad_request(format!("count: expected 1 to {MAX_COUNT}")));
    }
    if let Some(customer_id) = &customer_id {
        check_customer_id(customer_id)?;
    }
    let links = shared.create_links(count, customer_id.as_deref())?;
    let links = links.into_iter().map(|(entity, customer)| json!({ "entity_id": entity, "customer_id": customer }));
    Ok(Json(json!({ "count": count, "links": links.collect::<Vec<_>>() })))
}

/// `GET /simulate/status`: the seed, and how many webhooks came to which end.
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let (links, counts) = {
        let state = shared.state();
        (state.records.links().len(), state.deliveries.counts())
    };
    let settings = &shared.settings;
    Json(json!({
        "seed": settings.seed,
        "dialect": settings.dialect.name(),
        "links": links,
        "webhooks": counts,
    }))
}
