//! The JSON Schema of events, against events.

use serde_json::{Value, json};
use testkit::published::{assert_valid_event, event_faults};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::document;

/// The examples in the document, one of each type.
async fn examples() -> Vec<Value> {
    let document = document("events", &[]).await;
    let types = document["oneOf"].as_array().unwrap().iter();
    let names = types.map(|schema| schema["$ref"].as_str().unwrap().trim_start_matches("#/$defs/"));
    names.map(|name| document["$defs"][name]["examples"][0].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_link_are_valid() {
    let app = TestApp::start(On::Sqlite).await;
    let entity = Uuid::new_v4();
    let mut created = fixtures::created(entity);
    created["payload"].as_object_mut().unwrap().remove("bank_details");
    let webhooks = [
        created,
        fixtures::updated(entity, "2026-11-20T10:00:00Z", &json!([])),
        fixtures::reconnected(entity, "2026-11-20T11:00:00Z"),
    ];
    for webhook in &webhooks {
        app.post(webhook).await.assert_accepted();
        // Validates it.
        app.next_event().await;
    }
}

#[tokio::test]
async fn the_examples_are_valid_and_of_each_type() {
    let examples = examples().await;
    examples.iter().for_each(assert_valid_event);
    let types: Vec<_> = examples.iter().map(|example| example["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["customer.bank_linked", "customer.bank_link_updated", "customer.bank_reconnected"]);
}

#[tokio::test]
async fn members_may_be_added_to_every_object() {
    for mut event in examples().await {
        event["added"] = json!({ "x": 1 });
        event["data"]["added"] = json!([1]);
        event["data"]["bank"]["added"] = json!(null);
        assert_valid_event(&event);
    }
}

#[tokio::test]
async fn what_is_promised_is_required() {
    let event = examples().await.remove(0);
    let faulty = |change: &dyn Fn(&mut Value)| {
        let mut event = event.clone();
        change(&mut event);
        assert!(!event_faults(&event).is_empty(), "{event}");
    };
    faulty(&|event| event["type"] = json!("customer.bank_unlinked"));
    faulty(&|event| event["dataschema"] = json!("urn:banklink:customer.bank_linked:2"));
    faulty(&|event| event["id"] = json!("not-a-uuid"));
    faulty(&|event| event["time"] = json!("yesterday"));
    faulty(&|event| event["data"]["revision"] = json!(0));
    faulty(&|event| event["data"]["customer_id"] = json!(null));
    faulty(&|event| event["data"]["linked_at"] = json!(null));
    faulty(&|event| event["data"]["permissions"] = json!("accounts"));
    for required in ["id", "source", "specversion", "type", "time", "datacontenttype", "dataschema", "data"] {
        faulty(&|event| drop(event.as_object_mut().unwrap().remove(required)));
    }
    for required in ["entity_id", "app_user_id", "revision", "version", "bank", "permissions", "reconnected_at"] {
        faulty(&|event| drop(event["data"].as_object_mut().unwrap().remove(required)));
    }
}
