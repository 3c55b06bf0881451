//! The JSON Schema (draft 2020-12) of the events, generated from the types that are serialised (docs/SUBSCRIBERS.md).
//!
//! Every object is open: within a version, members are only added, so a subscriber must accept members it does not know.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::event::{Change, Envelope};
use super::example;
use super::rehearsal::ATTRIBUTE;

/// The `$id` of the document.
pub const ID: &str = "urn:banklink:events:1";
/// The dialect of the document.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of every event: one of the three types, each under its name in `$defs`.
#[must_use]
pub fn document() -> Value {
    let mut definitions = definitions(&|name| format!("#/$defs/{name}"));
    for change in Change::ALL {
        // The id that `dataschema` names.
        let data = definitions.get_mut(&data_name(change)).and_then(Value::as_object_mut);
        data.and_then(|data| data.insert("$id".to_owned(), json!(change.data_schema())));
        // A reference in a schema with an id of its own is relative to that id.
        let inherited = definitions.get_mut(&data_name(change)).and_then(|data| data.pointer_mut("/allOf/0/$ref"));
        if let Some(inherited) = inherited {
            *inherited = json!(format!("{ID}#/$defs/BankLink"));
        }
    }
    let types = Change::ALL.map(|change| json!({ "$ref": format!("#/$defs/{}", change.event_type()) }));
    json!({
        "$schema": DIALECT,
        "$id": ID,
        "title": "Events of banklink",
        "description": "CloudEvents 1.0 about the links of customers to banks. Within this version members are only added: \
            accept those that you do not know.",
        "oneOf": types,
        "$defs": definitions,
    })
}

/// An example of that kind of event.
#[must_use]
pub fn example(change: Change) -> Value {
    example::event(change)
}

/// The schemas by name: each event type, its data, and what these consist of. `reference` is how one is referred to.
#[must_use]
pub fn definitions(reference: &dyn Fn(&str) -> String) -> Map<String, Value> {
    let mut definitions = generated(reference);
    let envelope = definitions.remove("Envelope").unwrap_or_default();
    for change in Change::ALL {
        definitions.insert(change.event_type().to_owned(), event(change, envelope.clone(), reference));
        definitions.insert(data_name(change), data(change, reference));
    }
    definitions
}

/// What schemars generates from the types: `Envelope`, `BankLink` and `Bank`.
fn generated(reference: &dyn Fn(&str) -> String) -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator = settings.into_generator();
    let mut envelope = generator.root_schema_for::<Envelope<'_>>().to_value();
    let mut definitions = Map::new();
    if let Some(Value::Object(defined)) = envelope.as_object_mut().and_then(|envelope| envelope.remove("$defs")) {
        definitions.extend(defined);
    }
    if let Some(envelope) = envelope.as_object_mut() {
        envelope.remove("$schema");
    }
    definitions.insert("Envelope".to_owned(), envelope);
    for definition in definitions.values_mut() {
        adapt(definition, reference);
    }
    definitions
}

/// Replaces each reference `#/$defs/X` by `reference(X)`, and joins the lines of descriptions, which are comments of the code.
fn adapt(schema: &mut Value, reference: &dyn Fn(&str) -> String) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value.as_str()) {
                    ("$ref", Some(path)) => *value = json!(reference(path.trim_start_matches("#/$defs/"))),
                    ("description", Some(text)) => *value = json!(text.replace('\n', " ")),
                    _ => adapt(value, reference),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, reference)),
        _ => {}
    }
}

fn data_name(change: Change) -> String {
    format!("{}.data", change.event_type())
}

/// The schema of one type of event.
fn event(change: Change, mut envelope: Value, reference: &dyn Fn(&str) -> String) -> Value {
    envelope["title"] = json!(change.event_type());
    envelope["description"] = json!(change.description());
    let properties = &mut envelope["properties"];
    properties["type"]["const"] = json!(change.event_type());
    properties["dataschema"]["const"] = json!(change.data_schema());
    properties["data"] = json!({ "$ref": reference(&data_name(change)) });
    properties[ATTRIBUTE] = json!({
        "type": "string",
        "description": "Only on made-up events, which `banklink events rehearse` sends to one queue: the rehearsal's id.",
    });
    envelope["examples"] = json!([example::event(change)]);
    envelope
}

/// The schema of the data of one type of event: a link as every event has it, with what this type guarantees.
fn data(change: Change, reference: &dyn Fn(&str) -> String) -> Value {
    let mut guaranteed = json!({ "customer_id": { "type": "string" }, "linked_at": { "type": "string" } });
    if change == Change::Reconnected {
        guaranteed["reconnected_at"] = json!({ "type": "string" });
    }
    json!({
        "title": format!("Data of {}", change.event_type()),
        "description": "The whole link as of this event. A link that is announced has a customer and a time of linking.",
        "allOf": [{ "$ref": reference("BankLink") }],
        "properties": guaranteed,
    })
}
