//! The main path: a webhook becomes a row and an event, once.

use rstest::rstest;
use sea_orm::prelude::DateTimeUtc;
use serde_json::json;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_created_webhook_becomes_a_row_and_an_event(#[case] on: On) {
    let app = TestApp::start(on).await;
    app.post(&fixtures::seed()).await.assert_accepted();
    let events = app.wait_until_processed().await;

    let links = app.bank_links().await;
    assert_eq!(links.len(), 1);
    let link = &links[0];
    let at: DateTimeUtc = "2020-10-10T17:19:00.059933Z".parse().unwrap();
    assert_eq!(link.entity_id, fixtures::seed_entity());
    assert_eq!(link.customer_id, "6bc2336a-6d74-4e59-a492-65313423a8f");
    assert_eq!(link.permissions, json!(["accounts", "balance", "identity", "transactions"]));
    assert_eq!((link.bank_name.as_deref(), link.bank_logo.as_deref()), (Some("Lean Mock Bank"), None));
    assert_eq!((link.linked_at, link.reconnected_at, link.occurred_at), (Some(at), None, at));
    assert_eq!((link.version, link.revision), (1_602_350_340_059_933_000, 1));
    insta::assert_json_snapshot!("bank_linked_event", events[0]);
    assert_eq!(events.len(), 1);
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn repeats_change_nothing_and_publish_nothing(#[case] on: On) {
    let app = TestApp::start(on).await;
    app.post(&fixtures::seed()).await.assert_accepted();
    app.wait_until_processed().await;
    let before = app.bank_links().await;
    for _ in 0..5 {
        app.post(&fixtures::seed()).await.assert_accepted();
    }
    assert!(app.wait_until_processed().await.is_empty());
    assert_eq!(app.bank_links().await, before);
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_update_before_its_creation_keeps_the_newer_fields_and_one_linked_event(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    app.post(&fixtures::updated(entity, "2026-06-01T00:00:00Z", &json!(["accounts"]))).await.assert_accepted();
    assert!(app.wait_until_processed().await.is_empty(), "no event before the link is created");
    app.post(&fixtures::created(entity)).await.assert_accepted();
    let events = app.wait_until_processed().await;

    let link = app.bank_link(entity).await.unwrap();
    assert_eq!(link.permissions, json!(["accounts"]), "the newer value stays");
    assert_eq!(link.linked_at, Some("2026-05-12T14:34:40.391243Z".parse().unwrap()));
    assert_eq!(link.occurred_at, "2026-06-01T00:00:00Z".parse::<DateTimeUtc>().unwrap());
    assert_eq!(link.revision, 2);
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["customer.bank_linked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_before_its_link_is_retried_and_then_applied() {
    let app = TestApp::builder(On::Sqlite).schedule("100ms,100ms,200ms,500ms,1s,1s,1s,1s,1s,1s").build().await;
    let entity = Uuid::new_v4();
    app.post(&fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
    app.wait_until_processed().await;
    assert!(app.bank_link(entity).await.is_none(), "a reconnect creates no row");
    app.post(&fixtures::created(entity)).await.assert_accepted();

    let linked = app.next_event().await;
    let reconnected = app.next_event().await;
    assert_eq!(
        (&linked["type"], &reconnected["type"]),
        (&json!("customer.bank_linked"), &json!("customer.bank_reconnected"))
    );
    assert_eq!(reconnected["data"]["reconnected_at"], "2026-06-01T00:00:00.000000Z");
    assert_eq!(reconnected["data"]["revision"], 2);
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_published_only_when_a_field_of_the_event_changes(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let same = json!(["transactions", "balance", "identity", "accounts"]);
    for (second, permissions) in [(1, &same), (2, &json!([])), (3, &json!({"accounts": false}))] {
        let mut update = fixtures::updated(entity, &format!("2026-06-01T00:00:0{second}Z"), permissions);
        update["event_id"] = json!("e");
        app.post(&fixtures::created(entity)).await.assert_accepted();
        app.post(&update).await.assert_accepted();
        let events = app.wait_until_processed().await;
        let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        match second {
            1 => assert_eq!(types, ["customer.bank_linked"], "equal values are not published"),
            2 => assert_eq!(types, ["customer.bank_link_updated"], "a revocation is an update, not a link"),
            _ => assert!(types.is_empty(), "the same permissions in another form"),
        }
    }
    let link = app.bank_link(entity).await.unwrap();
    assert_eq!(link.permissions, json!([]));
    assert_eq!(link.last_event_id.as_deref(), Some("e"));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn timestamps_one_nanosecond_apart_are_ordered(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    app.post(&fixtures::updated(entity, "2026-06-01T00:00:00.000000002Z", &json!(["new"]))).await.assert_accepted();
    app.post(&fixtures::updated(entity, "2026-06-01T00:00:00.000000001Z", &json!(["old"]))).await.assert_accepted();
    app.wait_until_processed().await;
    assert_eq!(app.bank_link(entity).await.unwrap().permissions, json!(["new"]));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn after_a_row_was_deleted_its_waiting_event_takes_the_newer_payload(#[case] on: On) {
    let app = TestApp::builder(on).relays(0).build().await;
    let entity = Uuid::new_v4();
    let mut webhook = fixtures::created(entity);
    app.post(&webhook).await.assert_accepted();
    app.until_link(entity).await;
    app.sql("DELETE FROM bank_links", "DELETE FROM bank_links").await;
    webhook["payload"]["app_user_id"] = json!("user-2");
    app.post(&webhook).await.assert_accepted();
    assert_eq!(app.until_link(entity).await.app_user_id.as_deref(), Some("user-2"));
    app.start_relay();
    assert_eq!(app.next_event().await["data"]["app_user_id"], "user-2");
    app.until_outbox_is_empty().await;
    assert!(app.dead_letters().await.is_empty());
}
