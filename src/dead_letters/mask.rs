//! Renders a letter's body for people, with customer data masked unless it is revealed.
//!
//! What is shown is listed; everything else is masked, whatever a new version of Lean's webhooks may contain
//! (docs/CONTRACT.md#7-dead-letters).

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::indent::indented;
use crate::domain::field::Field;
use crate::domain::permissions;

/// Replaces a masked value, and the name of an unknown member.
const MASK: &str = "***";
/// Members of a webhook whose texts are shown, up to [`MAX_SHOWN_BYTES`].
const SHOWN_MEMBERS: [&str; 3] = ["type", "timestamp", "event_id"];
/// Maximum length of a text that is shown, in bytes.
const MAX_SHOWN_BYTES: usize = 128;
/// Members whose names are shown; most of their values are masked.
const NAMES: [&str; 22] = [
    "type",
    "payload",
    "message",
    "timestamp",
    "event_id",
    "id",
    "entity_id",
    "customer_id",
    "app_user_id",
    "end_user_id",
    "reconnect_id",
    "permissions",
    "bank_details",
    "bank_identifier",
    "bank_type",
    "identifier",
    "name",
    "logo",
    "main_color",
    "background_color",
    "swift_code",
    "account_type",
];

/// Whether customer data is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// Customer data is masked.
    Masked,
    /// Customer data is shown. The caller has to record that in the letter's history.
    Revealed,
}

/// Renders JSON indented, with each number as it was written. Any other body is rendered as its size and digest or, if revealed, as text in which invalid UTF-8 is
/// replaced. The text may contain control characters.
#[must_use]
pub fn render(body: &[u8], masking: Masking) -> String {
    match (serde_json::from_slice::<Value>(body), masking) {
        (Ok(json), Masking::Masked) => serde_json::to_string_pretty(&masked(json)).unwrap_or_default(),
        (Err(_), Masking::Masked) => {
            format!("not JSON: {} bytes, sha256 {}", body.len(), hex::encode(Sha256::digest(body)))
        }
        (_, Masking::Revealed) => {
            let text = String::from_utf8_lossy(body);
            indented(&text).unwrap_or_else(|| text.into_owned())
        }
    }
}

/// The value of a bank link's field as JSON: permissions as an array, everything else as text.
#[must_use]
pub fn field_value(field: Field, value: &str, masking: Masking) -> Value {
    let value = match field {
        Field::Permissions => serde_json::from_str(value).unwrap_or_default(),
        _ => value.into(),
    };
    match (masking, field) {
        (Masking::Revealed, _) | (_, Field::LastEventId) => value,
        (Masking::Masked, Field::Permissions) => masked_permissions(value),
        (Masking::Masked, _) => masked_value(value),
    }
}

/// A value that [`field_value`] gives as the text of a cell.
#[must_use]
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(value_text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A webhook in which only its structure, its type and times, the entity's id and known permissions are left.
fn masked(webhook: Value) -> Value {
    let Value::Object(members) = webhook else { return masked_value(webhook) };
    masked_members(members, |name, value| match (name, value) {
        ("payload", Value::Object(payload)) => masked_members(payload, |name, value| match (name, value) {
            ("id", Value::String(id)) if Uuid::parse_str(&id).is_ok() => Value::String(id),
            ("permissions", permissions) => masked_permissions(permissions),
            (_, value) => masked_value(value),
        }),
        (name, Value::String(text)) if SHOWN_MEMBERS.contains(&name) && text.len() <= MAX_SHOWN_BYTES => text.into(),
        (_, value) => masked_value(value),
    })
}

/// Permissions as Lean sends them, a list of names or an object of booleans, with the names that it documents.
fn masked_permissions(permissions: Value) -> Value {
    let is_known = |name: &str| permissions::DOCUMENTED.contains(&name);
    match permissions {
        Value::Array(names) => names
            .into_iter()
            .map(|name| if name.as_str().is_some_and(is_known) { name } else { masked_value(name) })
            .collect(),
        Value::Object(names) => masked_named(names, is_known, |_, granted| match granted {
            Value::Bool(_) => granted,
            granted => masked_value(granted),
        }),
        other => masked_value(other),
    }
}

/// Masks every leaf but null, and the names of unknown members.
fn masked_value(value: Value) -> Value {
    match value {
        Value::Object(members) => masked_members(members, |_, value| masked_value(value)),
        Value::Array(items) => items.into_iter().map(masked_value).collect(),
        Value::Null => Value::Null,
        _ => MASK.into(),
    }
}

fn masked_members(members: Map<String, Value>, mask: impl Fn(&str, Value) -> Value) -> Value {
    masked_named(members, |name| NAMES.contains(&name), mask)
}

/// Masks the values by `mask` and the names that are not known: the first as `***`, then `*** 2` and so on.
fn masked_named(
    members: Map<String, Value>,
    is_known: impl Fn(&str) -> bool,
    mask: impl Fn(&str, Value) -> Value,
) -> Value {
    let mut unknown = 0;
    let members = members.into_iter().map(|(name, value)| {
        if is_known(&name) {
            let value = mask(&name, value);
            return (name, value);
        }
        unknown += 1;
        let name = if unknown == 1 { MASK.to_owned() } else { format!("{MASK} {unknown}") };
        (name, masked_value(value))
    });
    Value::Object(members.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_shown() {
        let body = br#"{"type":"entity.created","timestamp":"2026-05-12T14:34:40Z","event_id":"e-1","message":"SECRET",
            "payload":{"id":"f08fb010-878f-407a-9ac2-a7840fb56185","customer_id":"SECRET","customerId":"SECRET",
                "customer":{"iban":"SECRET"},"app_user_id":7007,"permissions":["accounts","SECRET"],
                "bank_details":{"name":"SECRET","logo":null,"SECRET":[1007]}},
            "SECRET":true,"double":"{\"customer_id\":\"SECRET\"}","extra":[{"id":"SECRET","type":"SECRET"}]}"#;
        let rendered = render(body, Masking::Masked);
        for secret in ["SECRET", "7007", "1007", "iban", "double", "true"] {
            assert!(!rendered.contains(secret), "{secret} in {rendered}");
        }
        for shown in ["entity.created", "2026-05-12T14:34:40Z", "e-1", "f08fb010-878f", "\"accounts\"", "null"] {
            assert!(rendered.contains(shown), "{shown} not in {rendered}");
        }
        assert!(render(body, Masking::Revealed).contains("SECRET"));
    }

    #[test]
    fn other_shapes_are_masked_as_a_whole() {
        for body in [r#""{\"customer_id\":\"SECRET\"}""#, "[\"SECRET\"]", r#"{"payload":"SECRET","type":["SECRET"]}"#] {
            assert!(!render(body.as_bytes(), Masking::Masked).contains("SECRET"), "{body}");
        }
        let map =
            render(br#"{"payload":{"id":"SECRET","permissions":{"balance":true,"SECRET":false}}}"#, Masking::Masked);
        assert!(map.contains("\"balance\": true") && !map.contains("SECRET"), "{map}");
    }

    #[test]
    fn a_body_that_is_not_json_is_shown_as_size_and_digest() {
        let body = b"\x1b[31m\x00\xff\nred";
        assert!(render(body, Masking::Masked).starts_with("not JSON: 11 bytes, sha256 "));
        assert_eq!(render(body, Masking::Revealed), "\x1b[31m\0\u{fffd}\nred");
    }
}
