//! Webhooks as Lean sends them, and their signature.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha512;
use uuid::Uuid;

/// The example of Lean's page "Creating an entity", unchanged: its customer id is not a UUID.
#[must_use]
pub fn seed() -> Value {
    serde_json::from_str(include_str!("../../fixtures/entity_created.json")).expect("the fixture is JSON")
}

/// The entity that [`seed`] is about.
#[must_use]
pub fn seed_entity() -> Uuid {
    Uuid::parse_str("f08fb010-878f-407a-9ac2-a7840fb56185").expect("a UUID")
}

/// An `entity.created` with every field that Lean may send.
#[must_use]
pub fn created(entity: Uuid) -> Value {
    json!({
        "type": "entity.created",
        "message": "An entity object has been created.",
        "payload": {
            "id": entity,
            "customer_id": "6bc2336a-6d74-4e59-a492-65313423a8f8",
            "app_user_id": "user-1",
            "permissions": ["transactions", "balance", "identity", "accounts"],
            "bank_details": {
                "name": "Lean Mock Bank", "identifier": "LEANMB2", "logo": "https://example.com/logo.png",
                "main_color": "#1beb75", "background_color": "#001E26", "swift_code": "LEANAEAD",
                "account_type": "PERSONAL", "bank_type": "RETAIL",
            },
        },
        "timestamp": "2026-05-12T14:34:40.391243281Z",
        "event_id": Uuid::new_v4(),
    })
}

/// An `entity.updated` of the same link, at `timestamp`, with other permissions.
#[must_use]
pub fn updated(entity: Uuid, timestamp: &str, permissions: &Value) -> Value {
    let mut webhook = created(entity);
    webhook["type"] = json!("entity.updated");
    webhook["timestamp"] = json!(timestamp);
    webhook["payload"]["permissions"] = permissions.clone();
    webhook
}

/// An `entity.reconnected`, which carries no field of the link.
#[must_use]
pub fn reconnected(entity: Uuid, timestamp: &str) -> Value {
    json!({
        "type": "entity.reconnected",
        "payload": { "id": entity, "reconnect_id": Uuid::new_v4() },
        "timestamp": timestamp,
        "event_id": Uuid::new_v4(),
    })
}

/// The signature header of `body`, computed independently of the code under test.
#[must_use]
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).expect("any key fits");
    format!("sha512={}", hex::encode(mac.chain_update(body).finalize().into_bytes()))
}
