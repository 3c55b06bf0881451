//! What Lean may change about a webhook without killing the link: optional members, offsets, a byte order mark, new types.

use rstest::rstest;
use sea_orm::prelude::DateTimeUtc;
use serde_json::{Value, json};
use testkit::process::{metric, until_answers};
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

/// A member that holds something other than the text, list or object that it should, and the label it is counted under.
fn unreadable_members() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/payload/app_user_id", json!(42), "app_user_id"),
        ("/payload/end_user_id", json!({}), "end_user_id"),
        ("/payload/bank_details/main_color", json!(123), "bank_main_color"),
        ("/payload/bank_details/logo", json!(format!("https://{}", "x".repeat(1024))), "bank_logo"),
        ("/payload/bank_identifier", json!(["LEANMB2"]), "bank_identifier"),
        ("/payload/permissions", json!(["accounts", null]), "permissions"),
        ("/event_id", json!(true), "last_event_id"),
    ]
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_optional_member_that_cannot_be_read_is_not_carried_and_counted(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).build().await;
    let running = app.role("worker").start();
    let admin = running.admin().await;
    until_answers(&admin, "/readyz", 200).await;
    let counted = async |field: &str| {
        metric(&admin, &format!("banklink_worker_unreadable_fields_total{{field=\"{field}\"}}")).await
    };
    assert_eq!(counted("bank_details").await, Some(0.0), "the series is there from the start");

    let entity = Uuid::new_v4();
    let mut webhook = fixtures::created(entity);
    webhook["payload"]["bank_details"]["identifier"] = Value::Null;
    for (pointer, value, _) in unreadable_members() {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        webhook.pointer_mut(parent).unwrap()[name] = value;
    }
    app.post(&webhook).await.assert_accepted();
    let link = app.until_link(entity).await;

    assert_eq!((link.app_user_id, link.end_user_id, link.bank_identifier), (None, None, None));
    assert_eq!((link.bank_main_color, link.bank_logo, link.last_event_id), (None, None, None));
    assert_eq!(link.permissions, Value::Null, "no webhook has spoken of permissions that can be read");
    assert_eq!(link.bank_name.as_deref(), Some("Lean Mock Bank"), "the other fields are carried");
    for (_, _, field) in unreadable_members() {
        until(field, async || counted(field).await == Some(1.0)).await;
    }

    let other = Uuid::new_v4();
    let mut webhook = fixtures::created(other);
    webhook["payload"]["bank_details"] = json!("LEANMB2");
    app.post(&webhook).await.assert_accepted();
    assert_eq!(app.until_link(other).await.bank_name, None);
    until("bank_details", async || counted("bank_details").await == Some(1.0)).await;
    app.until_outbox_is_empty().await;
    assert!(app.dead_letters().await.is_empty());
    app.next_event().await;
    app.next_event().await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_null_until_a_webhook_has_carried_some(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let mut webhook = fixtures::created(entity);
    webhook["payload"]["permissions"] = Value::Null;
    app.post(&webhook).await.assert_accepted();
    assert_eq!(app.next_event().await["data"]["permissions"], Value::Null);
    assert_eq!(app.until_link(entity).await.permissions, Value::Null);

    app.post(&fixtures::updated(entity, "2026-06-01T00:00:00Z", &json!([]))).await.assert_accepted();
    let updated = app.next_event().await;
    assert_eq!(updated["type"], "customer.bank_link_updated", "none is not the same as unknown");
    assert_eq!(updated["data"]["permissions"], json!([]));
    assert_eq!(app.until_link(entity).await.permissions, json!([]));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn the_end_user_and_a_flat_bank_type_are_kept(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let mut webhook = fixtures::created(entity);
    webhook["payload"]["end_user_id"] = json!("third-party-7");
    webhook["payload"]["bank_type"] = json!("SME");
    app.post(&webhook).await.assert_accepted();
    let event = app.next_event().await;
    assert_eq!(event["data"]["end_user_id"], "third-party-7");
    assert_eq!(event["data"]["bank"]["type"], "RETAIL", "bank_details takes precedence");

    webhook["payload"]["bank_details"] = Value::Null;
    webhook["timestamp"] = json!("2026-06-01T00:00:00Z");
    app.post(&webhook).await.assert_accepted();
    assert_eq!(app.next_event().await["data"]["bank"]["type"], "SME");
    let link = app.until_link(entity).await;
    assert_eq!((link.end_user_id.as_deref(), link.bank_type.as_deref()), (Some("third-party-7"), Some("SME")));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_offset_without_a_colon_and_a_byte_order_mark_are_accepted(#[case] on: On) {
    let app = TestApp::start(on).await;
    for offset in ["+0300", "+03:00", "-0000"] {
        let entity = Uuid::new_v4();
        let mut webhook = fixtures::created(entity);
        webhook["timestamp"] = json!(format!("2026-05-12T14:34:40.5{offset}"));
        app.post_bytes(format!("\u{feff}{webhook}").as_bytes()).await.assert_accepted();
        let hour = if offset == "-0000" { 14 } else { 11 };
        let expected = format!("2026-05-12T{hour}:34:40.5Z").parse::<DateTimeUtc>().unwrap();
        assert_eq!(app.until_link(entity).await.occurred_at, expected, "{offset}");
        app.next_event().await;
    }
    let ignored = format!("\u{feff}{}", json!({ "type": "results.ready" }));
    app.post_bytes(ignored.as_bytes()).await.assert_accepted();
    assert!(app.wait_until_processed().await.is_empty() && app.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_whose_clock_is_a_day_behind_kills_no_webhook() {
    let app = TestApp::start(On::Sqlite).await;
    let entity = Uuid::new_v4();
    let mut webhook = fixtures::created(entity);
    webhook["timestamp"] = json!(chrono::Utc::now().to_rfc3339());
    let received = lapin::BasicProperties::default().with_timestamp(1_700_000_000);
    app.publish(webhook.to_string().as_bytes(), received).await;
    app.until_link(entity).await;
    app.next_event().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_that_lean_does_not_publish_is_logged_once_by_name() {
    let app = TestApp::builder(On::Sqlite).workers(0).relays(0).build().await;
    let running = app.role("worker").start();
    for event_type in ["entity.deleted", "loan.created", "entity.deleted", "results.ready", "forged\n\u{1b}[31m"] {
        app.post(&json!({ "type": event_type, "payload": {} })).await.assert_accepted();
    }
    let last = fixtures::created(Uuid::new_v4());
    app.post(&last).await.assert_accepted();
    app.until_links(1).await;
    running.until_log("forged").await;
    let log = running.log();
    let lines = |name: &str| log.lines().filter(|line| line.contains(name)).collect::<Vec<_>>();
    assert_eq!((lines("entity.deleted").len(), lines("loan.created").len()), (1, 1), "{log}");
    assert!(lines("entity.deleted")[0].contains("WARN") && lines("loan.created")[0].contains("INFO"), "{log}");
    assert!(lines("results.ready").is_empty() && !log.contains('\u{1b}'), "{log}");
    app.finish_with_leftovers().await;
}
