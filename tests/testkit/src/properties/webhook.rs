//! Any bytes are a webhook, an ignored type, or a failure whose reason repeats none of them.

use banklink::domain::failure::{Failure, FailureClass};
use banklink::domain::field::Field;
use banklink::domain::timestamp::Timestamp;
use banklink::domain::webhook::{IGNORED_TYPES, IgnoredType, Kind, Parsed, Webhook, parse, peek_type_and_entity};

/// A day, in nanoseconds.
const DAY: i64 = 86_400_000_000_000;
/// The descriptions of a wrong field. They are constants, so they never contain a value of the webhook.
const FAULTS: [&str; 10] = [
    "missing",
    "expected text",
    "contains a lone surrogate",
    "holds U+0000",
    "expected an object",
    "expected a UUID",
    "longer than 128 characters",
    "more than 24 h in the future",
    "has no offset from UTC",
    "expected an RFC 3339 time between 1970 and 2262",
];
/// serde_json's messages about invalid JSON, without the position.
const SYNTAX: [&str; 17] = [
    "EOF while parsing a list",
    "EOF while parsing a string",
    "EOF while parsing a value",
    "EOF while parsing an object",
    "control character (\\u0000-\\u001F) found while parsing a string",
    "expected `,` or `]`",
    "expected `,` or `}`",
    "expected `:`",
    "expected ident",
    "expected value",
    "invalid escape",
    "invalid number",
    "key must be a string",
    "lone leading surrogate in hex escape",
    "trailing characters",
    "trailing comma",
    "unexpected end of hex escape",
];

/// `input` is a body.
pub fn holds(input: &[u8]) {
    let received_at = Timestamp::parse("2026-06-01T12:00:00Z").expect("a time");
    let parsed = parse(input, received_at, received_at);
    let (event_type, entity) = peek_type_and_entity(input);
    match &parsed {
        Ok(Parsed::Link(webhook)) => {
            assert_eq!(entity, Some(webhook.entity_id), "peek_type_and_entity finds the same entity");
            assert_eq!(event_type.as_deref(), Some(name(webhook.kind)));
            assert_well_formed(webhook, received_at);
        }
        Ok(Parsed::Ignored(IgnoredType::Published(name))) => assert!(IGNORED_TYPES.contains(name)),
        Ok(Parsed::Ignored(IgnoredType::Unknown(name))) => assert!(name.len() <= 128),
        Err(failure) => assert_discreet(failure),
    }
    // Serialised again, with each member once and in another order, it parses to the same.
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(input) {
        let again = parse(value.to_string().as_bytes(), received_at, received_at);
        assert_eq!(parsed.map_err(|failure| failure.class), again.map_err(|failure| failure.class));
    }
}

fn assert_well_formed(webhook: &Webhook, received_at: Timestamp) {
    assert!(!webhook.timestamp.is_later_than(received_at, DAY));
    for (index, (field, value)) in webhook.carried.iter().enumerate() {
        assert!(!value.is_empty(), "an empty {field:?} is not carried");
        assert!(webhook.carried.iter().skip(index + 1).all(|(other, _)| other != field), "{field:?} twice");
        match field {
            Field::Permissions => {
                let names: Vec<String> = serde_json::from_str(value).expect("names");
                assert!(names.is_sorted_by(|one, next| one < next), "not sorted and unique: {names:?}");
                assert!(names.iter().all(|name| !name.is_empty() && !name.contains('\0')), "{names:?}");
            }
            Field::CustomerId => assert!(value.chars().count() <= 128),
            _ => {}
        }
        assert!(value.len() <= 1024, "{field:?} is too long");
        assert!(
            !webhook.unreadable.contains(&field.name()) || *field == Field::BankIdentifier || *field == Field::BankType
        );
        assert!(!value.contains('\0'), "PostgreSQL cannot store U+0000");
    }
    let customer = webhook.carried.iter().any(|(field, _)| *field == Field::CustomerId);
    assert_eq!(customer, webhook.kind != Kind::Reconnected, "every webhook but a reconnect carries the customer");
}

/// Asserts that the reason consists of known words only.
fn assert_discreet(failure: &Failure) {
    let reason = failure.reason.as_str();
    match failure.class {
        FailureClass::MalformedJson => {
            let what = reason.rsplit_once(" at line ").map_or(reason, |(what, position)| {
                assert!(position.split(" column ").all(|number| number.parse::<u64>().is_ok()), "{reason}");
                what
            });
            assert!(what == "not UTF-8" || SYNTAX.contains(&what), "{reason}");
        }
        FailureClass::InvalidWebhook => {
            let (field, fault) = reason.split_once(": ").expect("a field and a description");
            let name = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(field.split('.').all(name), "{reason}");
            assert!(FAULTS.contains(&fault), "{reason}");
        }
        other => panic!("{other} is not a failure of parsing"),
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Created => "entity.created",
        Kind::Updated => "entity.updated",
        Kind::Reconnected => "entity.reconnected",
    }
}
