//! Formats bank links: as JSON with the table's column names as keys, and as a page for people.

use serde_json::{Map, Value, json};

use super::{CommandError, age, output, time};
use crate::dead_letters::{Masking, field_value, value_text as text};
use crate::domain::bank_link::BankLink;
use crate::domain::field::Field;
use crate::domain::timestamp::Timestamp;
use crate::store::link_reads::StoredLink;

/// The link with each column's value; null if there is none.
pub(super) fn object(stored: &StoredLink, masking: Masking) -> Value {
    let link = &stored.link;
    let fields = Field::ALL.into_iter().map(|field| (field.name().to_owned(), value(link, field, masking)));
    let mut object: Map<String, Value> = fields.collect();
    let rest = [
        ("entity_id", json!(link.entity_id)),
        ("linked_at", json!(link.linked_at.map(Timestamp::rfc3339_micros))),
        ("reconnected_at", json!(link.reconnected_at.map(Timestamp::rfc3339_micros))),
        ("occurred_at", json!(link.version.rfc3339_micros())),
        ("version", json!(link.version.nanos())),
        ("revision", json!(link.revision)),
        ("created_at", json!(time(stored.created_at))),
        ("updated_at", json!(time(stored.updated_at))),
    ];
    object.extend(rest.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(object)
}

/// The time that each value is from, to the nanosecond.
pub(super) fn instants(link: &BankLink) -> Value {
    let instants = Field::ALL.into_iter().zip(&link.fields).filter_map(|(field, held)| {
        let held = held.as_ref()?;
        Some((field.name().to_owned(), held.timestamp.rfc3339_nanos().into()))
    });
    Value::Object(instants.collect())
}

/// What is shown of an event: all of it, or what is not customer data.
pub(super) fn event(event: &Value, masking: Masking) -> Value {
    match masking {
        Masking::Revealed => event.clone(),
        Masking::Masked => json!({
            "id": event["id"], "type": event["type"], "time": event["time"], "revision": event["data"]["revision"],
        }),
    }
}

/// The cells of a row of the list.
pub(super) fn row(stored: &StoredLink, masking: Masking) -> Vec<String> {
    let link = &stored.link;
    let ago = |timestamp: Option<Timestamp>| timestamp.map_or("-".to_owned(), |at| age(at.to_micros()));
    let cell = |field| text(&value(link, field, masking));
    vec![
        link.entity_id.to_string(),
        cell(Field::BankName),
        cell(Field::Permissions),
        ago(link.linked_at),
        ago(link.reconnected_at),
    ]
}

/// Prints the link, each value with the time that it is from.
pub(super) fn print(stored: &StoredLink, masking: Masking) -> Result<(), CommandError> {
    let link = &stored.link;
    let at = |timestamp: Option<Timestamp>| timestamp.map_or("-".to_owned(), Timestamp::rfc3339_nanos);
    for (name, value) in [
        ("entity", link.entity_id.to_string()),
        ("linked at", at(link.linked_at)),
        ("reconnected at", at(link.reconnected_at)),
        ("newest webhook", at(Some(link.version))),
        ("revision", link.revision.to_string()),
        ("row inserted", time(stored.created_at)),
        ("row written", time(stored.updated_at)),
    ] {
        output::line(&format!("{name:<16}{value}"))?;
    }
    output::lines("")?;
    let rows = Field::ALL.into_iter().zip(&link.fields).map(|(field, held)| {
        let from = held.as_ref().map_or("-".to_owned(), |held| held.timestamp.rfc3339_nanos());
        vec![field.name().to_owned(), from, text(&value(link, field, masking))]
    });
    output::table(&["FIELD", "FROM", "VALUE"], rows.collect())
}

fn value(link: &BankLink, field: Field, masking: Masking) -> Value {
    link.get(field).map_or(Value::Null, |value| field_value(field, value, masking))
}
