//! Random webhook bodies. Optional fields are often missing, and each field has few possible values, so that equal values occur.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::rng::Rng;

/// A time with nanoseconds; one in ten is in 2020.
pub(crate) fn time(rng: &mut Rng) -> String {
    let year = if rng.percent(10) { 2020 } else { 2026 };
    format!("{year}-06-01T00:{:02}:{:02}.{:09}Z", rng.below(60), rng.below(60), rng.below(1_000_000_000))
}

/// A time with microseconds, as many as a column holds: the judge compares `reconnected_at` of two row images to see whether a
/// reconnect moved it.
pub(crate) fn reconnect_time(rng: &mut Rng) -> String {
    let year = if rng.percent(10) { 2020 } else { 2026 };
    format!("{year}-06-02T00:{:02}:{:02}.{:06}Z", rng.below(60), rng.below(60), rng.below(1_000_000))
}

pub(crate) fn created(id: Uuid, time: &str, rng: &mut Rng) -> Value {
    let names = ["accounts", "balance", "identity", "transactions"];
    let permissions = match rng.below(4) {
        0 => Value::Null,
        1 => names.map(|name| (name.to_owned(), json!(rng.percent(50)))).into_iter().collect::<Map<_, _>>().into(),
        _ => names.into_iter().filter(|_| rng.percent(60)).collect(),
    };
    let mut text = |values: &[&str]| if rng.percent(25) { Value::Null } else { json!(*rng.choose(values)) };
    let bank = json!({
        "identifier": text(&["LEANMB1", "LEANMB2"]), "name": text(&["Erste Bank", "Zweite Bank", "Bank Ä"]),
        "logo": text(&["https://example.com/a.png", ""]), "main_color": text(&["#1beb75", "#001E26"]),
        "background_color": text(&["#ffffff", "#000000"]), "swift_code": text(&["LEANAEAD"]),
        "account_type": text(&["PERSONAL", "BUSINESS"]), "bank_type": text(&["RETAIL", "SME"]),
    });
    let app_user = text(&["user-1", "user-2", ""]);
    let customer = *rng.choose(&["customer-1", "customer-2", "customer-3"]);
    json!({
        "type": "entity.created",
        "payload": {
            "id": id, "customer_id": customer, "app_user_id": app_user, "permissions": permissions, "bank_details": bank,
        },
        "timestamp": time,
        "event_id": rng.uuid(),
    })
}

pub(crate) fn reconnected(id: Uuid, time: &str, rng: &mut Rng) -> Value {
    json!({
        "type": "entity.reconnected", "payload": { "id": id, "reconnect_id": rng.uuid() },
        "timestamp": time, "event_id": rng.uuid(),
    })
}
