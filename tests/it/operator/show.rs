//! Reading dead letters: list, stats, show, export.

use lapin::BasicProperties;
use rstest::rstest;
use serde_json::{Value, json};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::{dead_letters, lines};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_counted_and_shown_with_customer_data_masked(#[case] on: On) {
    let app = TestApp::start(on).await;
    let mut wrong = fixtures::created(Uuid::new_v4());
    wrong["payload"]["id"] = json!("nonsense");
    let id = app.post(&wrong).await.assert_accepted().to_string();
    app.post_bytes(b"\x1b[31mnot json\xff").await.assert_accepted();
    app.until_dead(2).await;

    let listed = lines(&app, &["list"]).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["failure_class"], "malformed_json", "the newest death first");
    assert_eq!(
        lines(&app, &["list", "--class", "invalid_webhook", "--since", "1h", "--limit", "5"]).await[0]["message_id"],
        json!(id)
    );
    assert!(lines(&app, &["list", "--until", "1h"]).await.is_empty());
    assert!(lines(&app, &["list", "--state", "resolved"]).await.is_empty());
    let stats = lines(&app, &["stats"]).await;
    assert_eq!((stats.len(), &stats[0]["count"]), (2, &json!(1)));
    assert_eq!(lines(&app, &["list", "--fingerprint", stats[0]["fingerprint"].as_str().unwrap()]).await.len(), 1);

    let shown = dead_letters(&app, &["show", &id]).run().await;
    assert!(shown.stdout.contains("payload.id: expected a UUID") && shown.stdout.contains("died"), "{}", shown.stdout);
    for secret in ["6bc2336a", "user-1", "Lean Mock Bank"] {
        assert!(!shown.stdout.contains(secret), "{secret} in {}", shown.stdout);
    }
    assert!(lines(&app, &["show", &id]).await[0].get("body").is_none());
    let revealed = dead_letters(&app, &["show", &id, "--reveal", "--by", "anna"]).run().await;
    assert!(revealed.stdout.contains("Lean Mock Bank"), "{}", revealed.stdout);
    let seen = app.history().await.into_iter().find(|entry| entry.action == "revealed").unwrap();
    assert_eq!(seen.by.as_deref(), Some("anna"));
    for line in dead_letters(&app, &["list"]).run().await.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert_eq!(dead_letters(&app, &["show", &Uuid::new_v4().to_string()]).run().await.code, 1);
}

/// Any client of RabbitMQ may write such headers.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_with_extreme_headers_are_listed_and_replayed(#[case] on: On) {
    let app = TestApp::start(on).await;
    let mut headers = lapin::types::FieldTable::default();
    headers.insert("x-replay".into(), lapin::types::AMQPValue::LongLongInt(i32::MAX.into()));
    headers.insert("x-attempt".into(), lapin::types::AMQPValue::LongLongInt(u32::MAX.into()));
    for name in ["x-source", "x-edited-from"] {
        headers.insert(name.into(), lapin::types::AMQPValue::LongString("x".repeat(60_000).into()));
    }
    let odd = BasicProperties::default().with_message_id("a\0b".into()).with_headers(headers);
    app.publish(b"garbage", odd).await;
    app.until_dead(1).await;
    for replay in 1..=2 {
        assert_eq!(lines(&app, &["list"]).await.len(), 1);
        let replayed = dead_letters(&app, &["replay", "--class", "malformed_json", "--yes"]).run().await;
        assert_eq!(replayed.code, 1, "it dies again: {replayed:?}");
        let letter = &app.dead_letters().await[0];
        assert_eq!((letter.state.as_str(), letter.deaths, letter.replays), ("dead", replay + 1, replay));
    }
    assert_eq!(app.dead_letters().await.len(), 1);
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn every_body_is_exported_and_replayed_byte_for_byte(#[case] on: On) {
    let app = TestApp::start(on).await;
    let bodies: Vec<Vec<u8>> =
        vec![b"\x00\x00".to_vec(), b"\xff\xfe invalid".to_vec(), vec![b'x'; 200 * 1024], "ع🏦".into()];
    for body in &bodies {
        app.post_bytes(body).await.assert_accepted();
    }
    app.until_dead(bodies.len()).await;
    for letter in app.dead_letters().await {
        let shown = dead_letters(&app, &["show", &letter.message_id.to_string(), "--reveal"]).run().await;
        assert_eq!(shown.code, 0, "always valid UTF-8");
    }
    let decode = |line: &Value| {
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, line["body"].as_str().unwrap()).unwrap()
    };
    let exported: Vec<Vec<u8>> = lines(&app, &["export"]).await.iter().map(decode).collect();
    assert_eq!(exported, bodies, "oldest first");
    assert_eq!(dead_letters(&app, &["replay", "--state", "dead", "--yes"]).run().await.code, 1);
    let again: Vec<Vec<u8>> = lines(&app, &["export"]).await.iter().map(decode).collect();
    let (mut again, mut bodies) = (again, bodies);
    again.sort();
    bodies.sort();
    assert_eq!(again, bodies);
    assert!(app.dead_letters().await.iter().all(|letter| letter.deaths == 2 && letter.replays == 1));
    assert_eq!(app.history().await.iter().filter(|entry| entry.action == "exported").count(), 8);
}
