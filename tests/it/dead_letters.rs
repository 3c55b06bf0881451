//! Messages that cannot be handled are recorded with the reason.

use lapin::BasicProperties;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use rstest::rstest;
use serde_json::json;
use testkit::app::channel;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_of_an_unknown_link_is_retried_by_the_schedule_and_then_dies(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let id = app.post(&fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
    let letter = &app.until_dead(1).await[0];
    assert_eq!((letter.message_id, letter.failure_class.as_str(), letter.attempts), (id, "unknown_entity", 3));
    assert_eq!((letter.event_type.as_deref(), letter.entity_id), (Some("entity.reconnected"), Some(entity)));
    let history: Vec<_> = app.history().await.into_iter().map(|entry| (entry.message_id, entry.action)).collect();
    assert_eq!(history, [(id, "died".to_owned())]);
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_attempt_and_the_rest_of_the_batch_is_applied(#[case] on: On) {
    let app = TestApp::start(on).await;
    let mut panicking = fixtures::created(Uuid::new_v4());
    panicking["banklink_fault"] = json!("panic");
    let other = Uuid::new_v4();
    app.post(&panicking).await.assert_accepted();
    app.post(&fixtures::created(other)).await.assert_accepted();
    let letter = &app.until_dead(1).await[0];
    assert_eq!((letter.failure_class.as_str(), letter.failure.as_str(), letter.attempts), ("panicked", "a panic", 3));
    assert!(app.bank_link(other).await.is_some());
    assert_eq!(app.next_event().await["data"]["entity_id"], json!(other));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_an_id_or_with_the_id_of_another_is_recorded_under_a_derived_id(#[case] on: On) {
    let app = TestApp::start(on).await;
    let id = app.post_bytes(b"first").await.assert_accepted();
    app.until_dead(1).await;
    let named = |name: &str| BasicProperties::default().with_message_id(name.into());
    app.publish(b"second", named(&id.to_string())).await;
    app.publish(b"third", BasicProperties::default()).await;
    app.publish(b"fourth", named("odd")).await;
    let letters = app.until_dead(4).await;
    let derived = |name: &str, body: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{name}{body}").as_bytes());
    let mut ids: Vec<_> = letters.iter().map(|letter| letter.message_id).collect();
    let mut expected = vec![id, derived(&id.to_string(), "second"), derived("", "third"), derived("odd", "fourth")];
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn the_same_death_is_recorded_once_and_a_later_death_is_counted(#[case] on: On) {
    let app = TestApp::start(on).await;
    let id = Uuid::now_v7();
    let died_at = |second: u32, replay: Option<i64>| {
        let mut headers = FieldTable::default();
        let texts = [
            ("x-failure-class", "panicked"),
            ("x-failure", "a\u{0}b"),
            ("x-failed-at", &format!("2026-06-01T00:00:0{second}Z")),
        ];
        for (name, value) in texts {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        if let Some(replay) = replay {
            headers.insert("x-replay".into(), AMQPValue::LongLongInt(replay));
        }
        BasicProperties::default().with_message_id(id.to_string().as_str().into()).with_headers(headers)
    };
    for properties in [died_at(1, None), died_at(1, None), died_at(2, None), died_at(3, Some(9))] {
        app.publish_dead(b"body", properties).await;
    }
    app.post_bytes(b"behind them").await.assert_accepted();
    app.until_dead(2).await;
    let letters = app.dead_letters().await;
    let letter = letters.iter().find(|letter| letter.message_id == id).unwrap();
    assert_eq!(
        (letter.deaths, letter.failure.as_str()),
        (2, "a\u{fffd}b"),
        "a death of another replay number is ignored"
    );
    assert_eq!(letter.last_died_at, "2026-06-01T00:00:02Z".parse::<sea_orm::prelude::DateTimeUtc>().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_message_carries_the_failure_and_the_original_headers() {
    let app = TestApp::builder(On::Sqlite).workers(0).build().await;
    app.subscribe("subscriber", &app.topology.dead(), "").await;
    app.start_worker();
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("x-source", "elsewhere"),
        ("x-received-at", "2026-06-01T00:00:00.123456789Z"),
        ("x-edited-from", "before"),
        ("x-junk", "1"),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    headers.insert("x-attempt".into(), AMQPValue::ShortInt(3));
    app.publish(b"\x00garbage", BasicProperties::default().with_message_id("mine".into()).with_headers(headers)).await;

    let dead = app.next_message("subscriber").await;
    assert_eq!(dead.data, b"\x00garbage");
    assert_eq!(dead.properties.message_id().as_ref().map(ToString::to_string).as_deref(), Some("mine"));
    let headers = dead.properties.headers().clone().unwrap();
    let text = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        (text("x-source").as_str(), text("x-received-at").as_str()),
        ("elsewhere", "2026-06-01T00:00:00.123456789Z")
    );
    assert_eq!((text("x-edited-from").as_str(), text("x-failure-class").as_str()), ("before", "malformed_json"));
    assert!(text("x-failure").contains("line 1") && text("x-failed-at").ends_with('Z'));
    assert_eq!(headers.inner().get("x-attempt"), Some(&AMQPValue::LongLongInt(3)));
    assert!(!headers.contains_key("x-junk"), "other headers are not copied");
    app.until_dead(1).await;
    app.until_dead(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_rabbitmq_expired_is_recorded_as_expired() {
    let builder = TestApp::builder(On::Sqlite).workers(0);
    let channel = channel().await;
    // The operator's own declaration of the queue has a TTL.
    let mut arguments = FieldTable::default();
    let dead = format!("{}.webhooks.dead", builder.namespace());
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", &dead),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(200));
    let work = format!("{}.webhooks", builder.namespace());
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(dead.as_str().into(), lapin::ExchangeKind::Fanout, options, FieldTable::default())
        .await
        .unwrap();
    channel.queue_declare(work.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let app = builder.build().await;
    app.post(&fixtures::seed()).await.assert_accepted();
    until("an expired message", async || app.ready_messages(&app.topology.dead()).await == 1).await;
    app.start_worker();
    assert_eq!(app.until_dead(1).await[0].failure_class, "expired");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_an_id_is_recorded_again_after_its_letter_has_ended(#[case] on: On) {
    let app = TestApp::start(on).await;
    let receipt = |seconds: u64| BasicProperties::default().with_timestamp(seconds);
    app.publish(b"garbage", receipt(1_700_000_000)).await;
    app.until_dead(1).await;
    let discard = ["dead-letters", "discard", "--state", "dead", "--reason", "a test", "--yes"];
    assert_eq!(app.command(&discard).run().await.code, 0);
    // Another program publishes the same message again. It is another webhook, received at another time.
    app.publish(b"garbage", receipt(1_700_000_001)).await;
    let letters = app.until_dead(2).await;
    assert_eq!(letters.iter().filter(|letter| letter.state == "dead").count(), 1, "{letters:?}");
    let replay = ["dead-letters", "replay", "--state", "dead", "--yes"];
    assert_eq!(app.command(&replay).run().await.code, 1, "its replay dies again");
    let letters = app.dead_letters().await;
    let deaths: Vec<_> = letters.iter().map(|letter| (letter.state.as_str(), letter.deaths)).collect();
    assert!(letters.len() == 2 && deaths.contains(&("dead", 2)) && deaths.contains(&("discarded", 1)), "{deaths:?}");
}
