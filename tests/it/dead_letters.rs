//! What cannot be handled is kept, with why.

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{On, Recipe, TestApp, on_both};
use crate::fixtures;

/// An `entity.created` with one thing wrong.
fn wrong(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut webhook = fixtures::created(Uuid::new_v4());
    change(&mut webhook);
    webhook.to_string().into_bytes()
}

/// Bodies that are rightly signed and wrong, with the class and the reason that they die of.
fn garbage() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let not_json: [(&[u8], _); 4] = [
        (b"not json", "expected ident at line 1 column 2"),
        (b"{\"type\":\"entity.created\"", "EOF while parsing an object at line 1 column 24"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ];
    let no_webhook: [(&[u8], _); 4] = [
        (b"[]", "webhook: expected an object"),
        (nested.as_bytes(), "webhook: expected an object"),
        (b"{}", "type: missing"),
        (b"{\"type\":7}", "type: expected text"),
    ];
    let not_json = not_json.into_iter().map(|(body, reason)| (body.to_vec(), "malformed_json", reason));
    let no_webhook = no_webhook.into_iter().map(|(body, reason)| (body.to_vec(), "invalid_webhook", reason));
    let wrong_fields = wrong_fields().into_iter().map(|(pointer, value, reason)| {
        let body = wrong(|webhook| *webhook.pointer_mut(pointer).expect(pointer) = value);
        (body, "invalid_webhook", reason)
    });
    not_json.chain(no_webhook).chain(wrong_fields).collect()
}

/// A wrong value for a field, and what is said of it.
fn wrong_fields() -> Vec<(&'static str, Value, &'static str)> {
    let no_time = "timestamp: expected an RFC 3339 time between 1970 and 2262";
    let tomorrow = (chrono::Utc::now() + chrono::TimeDelta::hours(25)).to_rfc3339();
    let long = json!("x".repeat(129));
    vec![
        ("/payload", Value::Null, "payload: missing"),
        ("/payload", json!([1]), "payload: expected an object"),
        ("/payload/id", json!("f08fb010"), "payload.id: expected a UUID"),
        ("/payload/id", json!(1e300), "payload.id: expected text"),
        ("/payload/customer_id", json!(""), "payload.customer_id: missing"),
        ("/payload/customer_id", long.clone(), "payload.customer_id: longer than 128 characters"),
        ("/payload/customer_id", json!("a\u{0}b"), "payload.customer_id: holds U+0000"),
        ("/payload/app_user_id", json!({}), "payload.app_user_id: expected text"),
        ("/payload/app_user_id", long, "payload.app_user_id: longer than 128 characters"),
        ("/payload/permissions", json!("all"), "payload.permissions: expected a list of names or a map of booleans"),
        ("/payload/permissions", json!([7]), "payload.permissions: expected text"),
        ("/payload/permissions", json!({"accounts": "yes"}), "payload.permissions: expected true or false"),
        ("/payload/permissions", json!(["a\u{0}"]), "payload.permissions: holds U+0000"),
        ("/payload/bank_details", json!("x"), "payload.bank_details: expected an object"),
        ("/payload/bank_details/name", json!(["x"]), "payload.bank_details.name: expected text"),
        ("/payload/bank_details/logo", json!("\u{0}"), "payload.bank_details.logo: holds U+0000"),
        ("/event_id", json!("\u{0}"), "event_id: holds U+0000"),
        ("/timestamp", json!(7), "timestamp: expected text"),
        ("/timestamp", json!("soon"), no_time),
        ("/timestamp", json!("1969-12-31T23:59:59Z"), no_time),
        ("/timestamp", json!("2262-04-12T00:00:00Z"), no_time),
        ("/timestamp", json!(tomorrow), "timestamp: more than 24 h after its receipt"),
    ]
}

on_both! {
    async fn garbage_that_is_rightly_signed_dies_at_once_and_says_which_field_is_wrong(app: TestApp) {
        let garbage = garbage();
        let mut expected = Vec::new();
        for (body, class, reason) in &garbage {
            let id = app.post_bytes(body).await.assert_accepted();
            expected.push((id, (*class).to_owned(), (*reason).to_owned(), body.clone(), 1, 1, "dead".to_owned()));
        }
        let letters = app.until_dead(garbage.len()).await;
        let mut told: Vec<_> = letters
            .iter()
            .map(|l| (l.message_id, l.failure_class.clone(), l.failure.clone(), l.body.clone(), l.attempts, l.deaths, l.state.clone()))
            .collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected);
        assert!(letters.iter().all(|letter| letter.source == "lean" && letter.fingerprint.len() == 12 && letter.replays == 0));
        assert!(app.settle_everything().await.is_empty(), "and the worker goes on");
        app.assert_nothing_left_behind().await;
    }

    async fn a_reconnect_of_nothing_is_retried_by_the_schedule_and_then_dead(app: TestApp) {
        let entity = Uuid::new_v4();
        let id = app.post(&fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
        let letter = &app.until_dead(1).await[0];
        assert_eq!((letter.message_id, letter.failure_class.as_str(), letter.attempts), (id, "unknown_entity", 3));
        assert_eq!((letter.event_type.as_deref(), letter.entity_id), (Some("entity.reconnected"), Some(entity)));
        let history: Vec<_> = app.history().await.into_iter().map(|entry| (entry.message_id, entry.action)).collect();
        assert_eq!(history, [(id, "died".to_owned())]);
        app.assert_nothing_left_behind().await;
    }

    async fn a_panic_is_a_failed_attempt_and_its_neighbours_go_through(app: TestApp) {
        let mut poison = fixtures::created(Uuid::new_v4());
        poison["banklink_fault"] = json!("panic");
        let neighbour = Uuid::new_v4();
        app.post(&poison).await.assert_accepted();
        app.post(&fixtures::created(neighbour)).await.assert_accepted();
        let letter = &app.until_dead(1).await[0];
        assert_eq!((letter.failure_class.as_str(), letter.failure.as_str(), letter.attempts), ("panicked", "a panic", 3));
        assert!(app.bank_link(neighbour).await.is_some());
        app.finish().await;
    }

    async fn a_message_without_an_id_or_with_anothers_is_recorded_under_one_of_its_own(app: TestApp) {
        let id = app.post_bytes(b"first").await.assert_accepted();
        app.until_dead(1).await;
        let named = |name: &str| BasicProperties::default().with_message_id(name.into());
        app.publish_by_hand(b"second", named(&id.to_string())).await;
        app.publish_by_hand(b"third", BasicProperties::default()).await;
        app.publish_by_hand(b"fourth", named("odd")).await;
        let letters = app.until_dead(4).await;
        let derived = |name: &str, body: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{name}{body}").as_bytes());
        let mut ids: Vec<_> = letters.iter().map(|letter| letter.message_id).collect();
        let mut expected = vec![id, derived(&id.to_string(), "second"), derived("", "third"), derived("odd", "fourth")];
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected);
        app.finish().await;
    }

    async fn the_same_death_is_recorded_once_and_a_further_one_counted(app: TestApp) {
        let id = Uuid::now_v7();
        let died_at = |second: u32, replay: Option<i64>| {
            let mut headers = FieldTable::default();
            let texts = [("x-failure-class", "panicked"), ("x-failure", "a\u{0}b"), ("x-failed-at", &format!("2026-06-01T00:00:0{second}Z"))];
            for (name, value) in texts {
                headers.insert(name.into(), AMQPValue::LongString(value.into()));
            }
            if let Some(replay) = replay {
                headers.insert("x-replay".into(), AMQPValue::LongLongInt(replay));
            }
            BasicProperties::default().with_message_id(id.to_string().as_str().into()).with_headers(headers)
        };
        for properties in [died_at(1, None), died_at(1, None), died_at(2, None), died_at(3, Some(9))] {
            let dead = app.topology.dead();
            let options = BasicPublishOptions::default();
            app.channel.basic_publish(dead.as_str().into(), "".into(), options, b"body", properties).await.unwrap();
        }
        app.post_bytes(b"behind them").await.assert_accepted();
        app.until_dead(2).await;
        let letters = app.dead_letters().await;
        let letter = letters.iter().find(|letter| letter.message_id == id).unwrap();
        assert_eq!((letter.deaths, letter.failure.as_str()), (2, "a\u{fffd}b"), "a death of another life is not this one's");
        assert_eq!(letter.last_died_at, "2026-06-01T00:00:02Z".parse::<sea_orm::prelude::DateTimeUtc>().unwrap());
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_message_carries_why_and_loses_nothing_on_its_way() {
    let app = Recipe { workers: 0, ..Recipe::on(On::Sqlite) }.start().await;
    app.channel
        .queue_bind(
            app.queue("subscriber").as_str().into(),
            app.topology.dead().as_str().into(),
            "".into(),
            lapin::options::QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
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
    app.publish_by_hand(
        b"\x00garbage",
        BasicProperties::default().with_message_id("mine".into()).with_headers(headers),
    )
    .await;

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
    assert!(!headers.contains_key("x-junk"), "the rest is built afresh");
    app.finish().await;
}
