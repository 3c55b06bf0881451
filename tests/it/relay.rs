//! Events reach their subscribers, and a refused event does not delay others.

use std::collections::BTreeSet;

use lapin::options::QueueDeleteOptions;
use lapin::types::{AMQPValue, FieldTable};
use rstest::rstest;
use serde_json::json;
use testkit::app::channel;
use testkit::services::Services;
use testkit::waiting::{eventually, until, within};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_a_persistent_cloud_event(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    app.post(&fixtures::created(entity)).await.assert_accepted();
    let message = app.next_message("subscriber").await;
    let event: serde_json::Value = serde_json::from_slice(&message.data).unwrap();
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    let name = format!("urn:banklink:customer.bank_linked:{entity}");
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    assert_eq!(event["id"], json!(id));
    assert_eq!(text(message.properties.message_id()), id.to_string());
    assert_eq!(text(message.properties.kind()), "customer.bank_linked");
    assert_eq!(text(message.properties.content_type()), "application/cloudevents+json");
    assert_eq!(*message.properties.delivery_mode(), Some(2));
    assert_eq!(message.routing_key.as_str(), "customer.bank_linked");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_deferred_and_does_not_delay_others(#[case] on: On) {
    let app = TestApp::start(on).await;
    let queue = subscribe_with_a_full_queue(&app, "customer.bank_link_updated").await;
    let entity = Uuid::new_v4();
    app.post(&fixtures::created(entity)).await.assert_accepted();
    app.wait_until_processed().await;
    app.post(&fixtures::updated(entity, "2026-06-01T00:00:00Z", &json!(["accounts"]))).await.assert_accepted();
    let refused = eventually("a refusal", async || app.outbox().await.into_iter().find(|event| event.refusals > 0));
    let refused = refused.await;
    assert!(refused.retry_at.is_some());
    let other = Uuid::new_v4();
    app.post(&fixtures::created(other)).await.assert_accepted();
    loop {
        let event = app.next_event().await;
        if event["data"]["entity_id"] == json!(other) {
            break;
        }
        assert_eq!(event["id"], json!(refused.id), "the same event at every try");
    }
    app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    app.until_outbox_is_empty().await;
    // Each try of a refused event reaches the other subscriber again.
    app.finish_with_leftovers().await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn while_one_subscriber_refuses_every_event_the_others_receive_all(#[case] on: On) {
    let app = TestApp::start(on).await;
    let queue = subscribe_with_a_full_queue(&app, "#").await;
    let mut missing: BTreeSet<String> = (0..300).map(|_| Uuid::new_v4().to_string()).collect();
    for entity in &missing {
        app.publish_webhook(&fixtures::created(entity.parse().unwrap())).await;
    }
    while !missing.is_empty() {
        missing.remove(app.next_event().await["data"]["entity_id"].as_str().unwrap());
    }
    until("300 deferred events", async || {
        let deferred = app.outbox().await;
        deferred.len() == 300 && deferred.iter().all(|event| event.retry_at.is_some())
    })
    .await;
    app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    app.until_outbox_is_empty().await;
    // Each try of a refused event reaches the other subscriber again.
    app.finish_with_leftovers().await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn while_a_subscriber_refuses_only_a_sample_is_published_again(#[case] on: On) {
    const EVENTS: i32 = 100;
    let app = TestApp::builder(on).unsubscribed().build().await;
    let queue = subscribe_with_a_full_queue(&app, "#").await;
    for _ in 0..EVENTS {
        app.publish_webhook(&fixtures::created(Uuid::new_v4())).await;
    }
    // Each refusal is a copy in every queue but the full one, and on the stream.
    let refusals = async || app.outbox().await.iter().map(|event| event.refusals).sum::<i32>();
    until("three samples", async || refusals().await >= EVENTS + 3).await;
    assert!(refusals().await < EVENTS + 10, "{} copies of {EVENTS} events", refusals().await);
    app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    app.until_outbox_is_empty().await;
}

/// On a broker of its own, with a small maximum size of messages.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_for_rabbitmq_is_deferred_and_holds_up_no_other() {
    let settings = vec![("BANKLINK_RABBITMQ_EXTRA_CONF", "max_message_size = 20000".to_owned())];
    let services = Services::up_with("test-small-messages", &["rabbitmq"], settings).await;
    let app = TestApp::builder(On::Postgres).workers(0).relays(0).unsubscribed().build().await;
    let insert = |number: usize, payload: &str| {
        format!(
            "INSERT INTO outbox_events (id, event_type, routing_key, entity_id, payload, received_at, created_at, refusals) \
             VALUES (gen_random_uuid(), 'customer.bank_linked', 'customer.bank_linked', gen_random_uuid(), '{payload}', \
                 now(), now() + interval '{number} ms', 0)"
        )
    };
    for number in 0..60 {
        let payload = if number == 20 { format!("{{\"large\": \"{}\"}}", "x".repeat(30_000)) } else { "{}".to_owned() };
        app.sql("", &insert(number, &payload)).await;
    }
    let mut relay = app.role("relay").env("AMQP_URL", &services.amqp_url).start();
    until("one event", async || app.outbox().await.len() == 1).await;
    let refused = eventually("a refusal", async || app.outbox().await.pop().filter(|event| event.refusals > 0)).await;
    assert!(refused.payload["large"].is_string());
    app.sql("", &insert(100, "{}")).await;
    until("a later event", async || app.outbox().await.len() == 1).await;
    assert!(relay.log().contains("deferred an event"), "{}", relay.log());
    let check = app.command(&["check"]).run().await;
    assert!(check.stdout.contains("deferred events: 1"), "{check:?}");
    assert_eq!(relay.terminate().await, 0, "{}", relay.log());
    app.finish_with_leftovers().await;
}

/// Subscribes with a queue that refuses every message; returns its name.
async fn subscribe_with_a_full_queue(app: &TestApp, key: &str) -> String {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    app.subscribe_with("full", &app.topology.events(), key, arguments).await;
    app.queue("full")
}

#[tokio::test(flavor = "multi_thread")]
async fn several_relays_publish_each_event_once_on_postgres() {
    let app = TestApp::builder(On::Postgres).relays(3).build().await;
    let entities: Vec<Uuid> = (0..300).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        app.publish_webhook(&fixtures::created(*entity)).await;
    }
    let mut seen = std::collections::BTreeMap::new();
    for event in app.wait_until_processed().await {
        *seen.entry(event["data"]["entity_id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    // The last event may overtake events that another relay has claimed.
    while seen.len() < entities.len() {
        let event = app.next_event().await;
        *seen.entry(event["data"]["entity_id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!(entities.iter().all(|entity| seen.get(&entity.to_string()) == Some(&1)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_subscriber_can_read_past_events_from_the_stream() {
    let app = TestApp::start(On::Sqlite).await;
    app.post(&fixtures::seed()).await.assert_accepted();
    let event = app.next_event().await;

    let channel = channel().await;
    channel.basic_qos(10, lapin::options::BasicQosOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let options = lapin::options::BasicConsumeOptions::default();
    let log = app.queue("events.log");
    let mut stream = channel.basic_consume(log.as_str().into(), "".into(), options, arguments).await.unwrap();
    let past = within(futures_util::StreamExt::next(&mut stream)).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&past.data).unwrap(), event);
}
