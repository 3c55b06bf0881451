//! The bank link that a set of webhooks must produce, computed from `docs/CONTRACT.md#how-rows-change` without the product's
//! merge.
//!
//! Every field is the greatest (timestamp, value) that any webhook carries, `linked_at` the earliest creation, and
//! `reconnected_at` the latest reconnect. The order of the webhooks does not matter.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

/// The text fields of a webhook, and their columns.
const FIELDS: [(&str, &str); 12] = [
    ("/payload/customer_id", "customer_id"),
    ("/payload/app_user_id", "app_user_id"),
    ("/payload/bank_details/identifier", "bank_identifier"),
    ("/payload/bank_details/name", "bank_name"),
    ("/payload/bank_details/logo", "bank_logo"),
    ("/payload/bank_details/main_color", "bank_main_color"),
    ("/payload/bank_details/background_color", "bank_background_color"),
    ("/payload/bank_details/swift_code", "bank_swift_code"),
    ("/payload/bank_details/account_type", "bank_account_type"),
    ("/payload/bank_details/bank_type", "bank_type"),
    ("/payload/end_user_id", "end_user_id"),
    ("/event_id", "last_event_id"),
];

/// The expected contents of one bank link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// Text columns by name.
    pub columns: BTreeMap<&'static str, Option<String>>,
    /// Names of the granted permissions, sorted; `None` while no webhook has carried any.
    pub permissions: Option<Vec<String>>,
    /// Nanoseconds since 1970.
    pub linked_at: Option<i64>,
    /// Nanoseconds since 1970.
    pub reconnected_at: Option<i64>,
    /// Nanoseconds since 1970.
    pub version: i64,
}

/// The bank link that `webhooks`, all about one entity, must produce; `None` if none of them creates or updates it.
pub fn expected<'a>(webhooks: impl IntoIterator<Item = &'a Value>) -> Option<Expected> {
    let webhooks: Vec<&Value> = webhooks.into_iter().collect();
    let of = |kind: &'static str| webhooks.iter().copied().filter(move |webhook| webhook["type"] == kind);
    let creates_a_link = of("entity.created").chain(of("entity.updated")).next().is_some();
    let newest = |pointer: &'static str, carries_payload: bool| {
        let carriers = webhooks.iter().copied().filter(move |w| !carries_payload || w["type"] != "entity.reconnected");
        let values = carriers.filter_map(move |w| Some((nanos(w), w.pointer(pointer)?.as_str()?)));
        values.filter(|(_, value)| !value.is_empty()).max().map(|(_, value)| value.to_owned())
    };
    let columns =
        FIELDS.into_iter().map(|(pointer, column)| (column, newest(pointer, pointer.starts_with("/payload"))));
    let granted = of("entity.created").chain(of("entity.updated")).filter_map(|webhook| {
        let permissions = names(webhook.pointer("/payload/permissions")?)?;
        Some((nanos(webhook), serde_json::to_string(&permissions).ok()?, permissions))
    });
    creates_a_link.then(|| Expected {
        columns: columns.collect(),
        permissions: granted.max().map(|(_, _, permissions)| permissions),
        linked_at: of("entity.created").map(nanos).min(),
        reconnected_at: of("entity.reconnected").map(nanos).max(),
        version: webhooks.iter().copied().map(nanos).max().unwrap_or_default(),
    })
}

/// The contents of a row in the model's form. Columns hold microseconds; nanoseconds are taken from `version` and `instants`.
#[must_use]
pub fn held(row: &entity::bank_link::Model) -> Expected {
    let nanos = |name: &str, at: Option<sea_orm::prelude::DateTimeUtc>| {
        at.map(|_| row.instants.get(name).and_then(Value::as_i64).unwrap_or(row.version))
    };
    let columns = [
        ("customer_id", Some(row.customer_id.clone())),
        ("app_user_id", row.app_user_id.clone()),
        ("bank_identifier", row.bank_identifier.clone()),
        ("bank_name", row.bank_name.clone()),
        ("bank_logo", row.bank_logo.clone()),
        ("bank_main_color", row.bank_main_color.clone()),
        ("bank_background_color", row.bank_background_color.clone()),
        ("bank_swift_code", row.bank_swift_code.clone()),
        ("bank_account_type", row.bank_account_type.clone()),
        ("bank_type", row.bank_type.clone()),
        ("end_user_id", row.end_user_id.clone()),
        ("last_event_id", row.last_event_id.clone()),
    ];
    Expected {
        columns: columns.into_iter().collect(),
        permissions: serde_json::from_value(row.permissions.clone()).expect("names"),
        linked_at: nanos("linked_at", row.linked_at),
        reconnected_at: nanos("reconnected_at", row.reconnected_at),
        version: row.version,
    }
}

fn names(permissions: &Value) -> Option<Vec<String>> {
    let mut names: Vec<String> = match permissions {
        Value::Array(names) => names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        Value::Object(map) => {
            map.iter().filter(|(_, granted)| **granted == json!(true)).map(|(name, _)| name.clone()).collect()
        }
        _ => return None,
    };
    names.sort();
    names.dedup();
    Some(names)
}

fn nanos(webhook: &Value) -> i64 {
    let time = webhook["timestamp"].as_str().unwrap_or_default();
    chrono::DateTime::parse_from_rfc3339(time).expect("a time").timestamp_nanos_opt().expect("nanoseconds")
}

/// Any webhook about that entity. Fields may be missing, and few timestamps exist, so that many are equal.
pub fn any_webhook(entity: Uuid) -> impl Strategy<Value = Value> {
    let text = || prop_oneof![Just(Value::Null), Just(json!("")), "[abÄ]{1,2}".prop_map(Value::from)];
    let permission = prop::sample::select(vec!["accounts", "balance", "identity", "new_one"]);
    let permissions = prop_oneof![
        Just(Value::Null),
        prop::collection::vec(permission.clone(), 0..4).prop_map(Value::from),
        prop::collection::btree_map(permission, any::<bool>(), 0..3).prop_map(|map| json!(map)),
    ];
    let kind = prop::sample::select(vec!["entity.created", "entity.updated", "entity.updated", "entity.reconnected"]);
    let bank = prop::collection::vec(text(), 8);
    (kind, 0..6_u32, "[xyz]", (text(), text()), text(), bank, permissions).prop_map(
        move |(kind, nanos, customer, (app_user, end_user), event_id, bank, permissions)| {
            let timestamp = format!("2026-06-01T00:00:00.00000000{nanos}Z");
            let payload = if kind == "entity.reconnected" {
                json!({ "id": entity, "reconnect_id": "r" })
            } else {
                json!({
                    "id": entity, "customer_id": customer, "app_user_id": app_user, "end_user_id": end_user,
                    "permissions": permissions,
                    "bank_details": {
                        "identifier": bank[0], "name": bank[1], "logo": bank[2], "main_color": bank[3],
                        "background_color": bank[4], "swift_code": bank[5], "account_type": bank[6], "bank_type": bank[7],
                    },
                })
            };
            json!({ "type": kind, "payload": payload, "timestamp": timestamp, "event_id": event_id })
        },
    )
}

/// The webhooks of each entity.
#[must_use]
pub fn by_entity(webhooks: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut by_entity = BTreeMap::<String, Vec<&Value>>::new();
    for webhook in webhooks {
        by_entity.entry(webhook["payload"]["id"].as_str().unwrap_or_default().to_owned()).or_default().push(webhook);
    }
    by_entity
}
