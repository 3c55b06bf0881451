//! The webhooks' bodies, drawn: fields missing here and there, and few values, so that equal ones meet.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::chance::Chance;

/// Any time to the nanosecond, now and then in 2020.
pub(crate) fn time(chance: &mut Chance) -> String {
    let year = if chance.percent(10) { 2020 } else { 2026 };
    format!("{year}-06-01T00:{:02}:{:02}.{:09}Z", chance.below(60), chance.below(60), chance.below(1_000_000_000))
}

/// The same to the microsecond: the judge tells by the column whether a reconnect moved it, and columns hold no more.
pub(crate) fn time_of_a_reconnect(chance: &mut Chance) -> String {
    let year = if chance.percent(10) { 2020 } else { 2026 };
    format!("{year}-06-02T00:{:02}:{:02}.{:06}Z", chance.below(60), chance.below(60), chance.below(1_000_000))
}

pub(crate) fn created(id: Uuid, time: &str, chance: &mut Chance) -> Value {
    let names = ["accounts", "balance", "identity", "transactions"];
    let permissions = match chance.below(4) {
        0 => Value::Null,
        1 => json!(
            names.iter().map(|name| ((*name).to_owned(), json!(chance.percent(50)))).collect::<serde_json::Map<_, _>>()
        ),
        _ => json!(names.iter().filter(|_| chance.percent(60)).collect::<Vec<_>>()),
    };
    let mut text = |some: &[&str]| if chance.percent(25) { Value::Null } else { json!(*chance.pick(some)) };
    let bank = json!({
        "identifier": text(&["LEANMB1", "LEANMB2"]), "name": text(&["Erste Bank", "Zweite Bank", "Bank Ä"]),
        "logo": text(&["https://example.com/a.png", ""]), "main_color": text(&["#1beb75", "#001E26"]),
        "background_color": text(&["#ffffff", "#000000"]), "swift_code": text(&["LEANAEAD"]),
        "account_type": text(&["PERSONAL", "BUSINESS"]), "bank_type": text(&["RETAIL", "SME"]),
    });
    let app_user = text(&["user-1", "user-2", ""]);
    let customer = *chance.pick(&["customer-1", "customer-2", "customer-3"]);
    json!({
        "type": "entity.created",
        "payload": { "id": id, "customer_id": customer, "app_user_id": app_user, "permissions": permissions, "bank_details": bank },
        "timestamp": time,
        "event_id": chance.uuid(),
    })
}

pub(crate) fn reconnected(id: Uuid, time: &str, chance: &mut Chance) -> Value {
    json!({
        "type": "entity.reconnected", "payload": { "id": id, "reconnect_id": chance.uuid() },
        "timestamp": time, "event_id": chance.uuid(),
    })
}
