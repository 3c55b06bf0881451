//! Valid webhooks of unusual form: each is applied, and none stops the worker.

use lapin::BasicProperties;
use rstest::rstest;
use sea_orm::prelude::DateTimeUtc;
use serde_json::{Value, json};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

/// Posts an `entity.created` with one change, and returns its row.
async fn row_of(app: &TestApp, change: impl FnOnce(&mut Value)) -> entity::bank_link::Model {
    let entity = Uuid::new_v4();
    let mut webhook = fixtures::created(entity);
    change(&mut webhook);
    app.post(&webhook).await.assert_accepted();
    let events = app.wait_until_processed().await;
    assert_eq!(events.len(), 1, "{webhook}");
    app.bank_link(entity).await.expect("a row")
}

/// Asserts that `body`, once processed, has created the bank link `entity`.
async fn assert_links(app: &TestApp, entity: Uuid, body: &str) {
    app.post_bytes(body.as_bytes()).await.assert_accepted();
    app.wait_until_processed().await;
    assert!(app.bank_link(entity).await.is_some(), "{body:.200}");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn permissions_may_be_a_list_or_a_map_and_unknown_names_are_kept(#[case] on: On) {
    let app = TestApp::start(on).await;
    let list = row_of(&app, |w| w["payload"]["permissions"] = json!(["new_one", "accounts", "accounts", ""])).await;
    assert_eq!(list.permissions, json!(["accounts", "new_one"]));
    let map = json!({ "identity": true, "new_one": true, "accounts": false, "balance": null });
    let map = row_of(&app, |w| w["payload"]["permissions"] = map).await;
    assert_eq!(map.permissions, json!(["identity", "new_one"]));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn missing_null_and_empty_fields_are_not_stored(#[case] on: On) {
    let app = TestApp::start(on).await;
    let bare = row_of(&app, |w| {
        let (id, customer) = (w["payload"]["id"].clone(), w["payload"]["customer_id"].clone());
        *w = json!({ "type": "entity.created", "payload": { "id": id, "customer_id": customer } });
    });
    let bare = bare.await;
    assert_eq!((bare.app_user_id, bare.bank_identifier, bare.last_event_id), (None, None, None));
    assert!(bare.linked_at.is_some(), "ordered by its receipt");
    let nulls = row_of(&app, |w| {
        w["payload"]["bank_details"] = json!({ "name": null, "logo": "", "identifier": "X", "account_type": null });
        (w["payload"]["app_user_id"], w["message"], w["event_id"]) = (json!(""), Value::Null, Value::Null);
    });
    let nulls = nulls.await;
    assert_eq!((nulls.bank_name, nulls.bank_logo, nulls.bank_identifier.as_deref()), (None, None, Some("X")));
    assert_eq!((nulls.app_user_id, nulls.last_event_id), (None, None));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn the_flat_bank_identifier_of_the_data_api_is_read(#[case] on: On) {
    let app = TestApp::start(on).await;
    let flat = row_of(&app, |w| {
        w["payload"]["bank_details"] = Value::Null;
        w["payload"]["bank_identifier"] = json!("ENBD_UAE");
    });
    assert_eq!(flat.await.bank_identifier.as_deref(), Some("ENBD_UAE"));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_may_hold_anything(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let deep = format!("{}1{}", "[".repeat(3_000), "]".repeat(3_000));
    let body = fixtures::created(entity).to_string();
    let body = body.replacen('{', &format!(r#"{{"deep":{deep},"huge":1e99999,"dup":1,"dup":2,"nul":"\u0000","#), 1);
    assert_links(&app, entity, &body).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn timestamps_may_have_six_to_nine_fraction_digits_and_an_offset(#[case] on: On) {
    let app = TestApp::start(on).await;
    for (timestamp, shown, nanos) in [
        ("2026-05-12T14:34:40.391243Z", "2026-05-12T14:34:40.391243Z", 391_243_000),
        ("2026-05-12T14:34:40.3912439Z", "2026-05-12T14:34:40.391243Z", 391_243_900),
        ("2026-05-12T14:34:40.391243999Z", "2026-05-12T14:34:40.391243Z", 391_243_999),
        ("2026-05-12T18:34:40+04:00", "2026-05-12T14:34:40Z", 0),
    ] {
        let row = row_of(&app, |w| w["timestamp"] = json!(timestamp)).await;
        assert_eq!(row.occurred_at, shown.parse::<DateTimeUtc>().unwrap(), "cut, not rounded");
        assert_eq!(row.version % 1_000_000_000, nanos, "{timestamp}");
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_entity_id_may_be_a_uuid_of_any_version_in_either_case(#[case] on: On) {
    let app = TestApp::start(on).await;
    for id in [
        "F6DCC0AE-20C6-318C-BDBA-49FB2CED41CE",
        "017F22E2-79B0-8CC3-98C4-DC0C0C07398F",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ] {
        let entity = Uuid::parse_str(id).unwrap();
        let mut webhook = fixtures::created(entity);
        app.post(&webhook).await.assert_accepted();
        app.wait_until_processed().await;
        webhook["payload"]["id"] = json!(id);
        webhook["timestamp"] = json!("2026-05-13T00:00:00Z");
        app.post(&webhook).await.assert_accepted();
        app.wait_until_processed().await;
        assert_eq!(app.bank_link(entity).await.map(|row| row.revision), Some(2), "one row for both cases");
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn arabic_text_emoji_and_quotes_are_stored_unchanged(#[case] on: On) {
    let app = TestApp::start(on).await;
    let name = "بنك \"الإمارات\" 🏦 ' -- \\ ;DROP TABLE";
    let row = row_of(&app, |w| {
        w["payload"]["bank_details"]["name"] = json!(name);
        w["payload"]["customer_id"] = json!("ز".repeat(128));
    });
    let row = row.await;
    assert_eq!((row.bank_name.as_deref(), row.customer_id), (Some(name), "ز".repeat(128)));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn other_types_are_ignored_whatever_else_they_contain(#[case] on: On) {
    let app = TestApp::start(on).await;
    for webhook in [
        json!({ "type": "results.ready", "payload": 5 }),
        json!({ "type": "entity.data.refresh.updated", "payload": { "entity_id": "not a UUID" }, "timestamp": 3 }),
        json!({ "type": "an.unknown.type" }),
        json!({ "type": "odd\u{0}type" }),
    ] {
        app.post(&webhook).await.assert_accepted();
    }
    let deep = format!(r#"{{"payload":{}{},"type":"payment.created"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    app.post_bytes(deep.as_bytes()).await.assert_accepted();
    app.post_bytes(br#"{"type":"results.ready","\ud800":1}"#).await.assert_accepted();
    assert!(app.wait_until_processed().await.is_empty());
    assert!(app.dead_letters().await.is_empty() && app.bank_links().await.is_empty());
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_member_name_that_cannot_be_decoded_is_skipped(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let body = fixtures::created(entity).to_string().replace(r#""id":"#, r#""\ud800":[],"id":"#);
    assert_links(&app, entity, &body).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn messages_published_without_the_ingress_are_processed_alike(#[case] on: On) {
    let app = TestApp::start(on).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    app.publish(fixtures::created(first).to_string().as_bytes(), BasicProperties::default()).await;
    let mut headers = lapin::types::FieldTable::default();
    for name in ["x-attempt", "x-received-at", "x-replay", "x-source", "traceparent", "x-death"] {
        headers.insert(name.into(), lapin::types::AMQPValue::LongString("odd".into()));
    }
    let odd =
        BasicProperties::default().with_message_id("not a uuid".into()).with_timestamp(u64::MAX).with_headers(headers);
    app.publish(fixtures::created(second).to_string().as_bytes(), odd).await;
    app.wait_until_processed().await;
    assert!(app.bank_link(first).await.is_some() && app.bank_link(second).await.is_some());
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn without_a_timestamp_a_webhook_is_ordered_by_its_receipt(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let mut webhook = fixtures::created(entity);
    webhook["timestamp"] = Value::Null;
    let received = BasicProperties::default().with_timestamp(1_700_000_000);
    app.publish(webhook.to_string().as_bytes(), received).await;
    app.wait_until_processed().await;
    assert_eq!(app.bank_link(entity).await.map(|row| row.version), Some(1_700_000_000_000_000_000));
}
