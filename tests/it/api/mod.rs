//! The read API: docs/CONTRACT.md, section 9.

mod answers;
mod document;
mod lookups;
mod outages;
mod stream;
mod waiting;

use serde_json::Value;
use testkit::{TestApp, fixtures};
use uuid::Uuid;

/// An `entity.created` of that customer, with that timestamp.
fn created(customer: &str, entity: Uuid, timestamp: &str) -> Value {
    let mut webhook = fixtures::created(entity);
    webhook["payload"]["customer_id"] = customer.into();
    webhook["timestamp"] = timestamp.into();
    webhook
}

/// Links a bank of that customer, and returns its event.
async fn link(app: &TestApp, customer: &str, entity: Uuid) -> Value {
    app.post(&created(customer, entity, "2026-05-12T14:34:40Z")).await.assert_accepted();
    app.next_event().await
}

/// The entities of a list, in its order.
fn entities(list: &Value) -> Vec<Uuid> {
    let links = list["bank_links"].as_array().unwrap();
    links.iter().map(|link| Uuid::parse_str(link["entity_id"].as_str().unwrap()).unwrap()).collect()
}
