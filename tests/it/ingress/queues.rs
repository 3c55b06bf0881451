//! What the ingress puts on the work queue, and its answers when the queue is missing or full.

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use testkit::app::channel;
use testkit::waiting::eventually;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_webhook_is_on_the_queue_byte_for_byte() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let body = b"{ \"type\" :\t\"entity.created\", \"odd\": \"\xd8\xa8\xf0\x9f\x8f\xa6\" }\n";
    let id = app.post_bytes(body).await.assert_accepted();

    let message = app.next_message("webhooks").await;
    assert_eq!(message.data, body);
    assert_eq!((message.routing_key.as_str(), message.exchange.as_str()), ("lean", app.topology.webhooks().as_str()));
    let properties = message.properties;
    assert_eq!(properties.message_id().as_ref().map(ToString::to_string), Some(id.to_string()));
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(properties.app_id().as_ref().map(ToString::to_string).as_deref(), Some("banklink"));
    assert!(properties.timestamp().is_some() && properties.content_type().is_some());
    let headers = properties.headers().clone().unwrap();
    let text = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("x-source"), "lean");
    let received_at = text("x-received-at");
    assert!(received_at.ends_with('Z') && received_at.len() == "2026-05-12T14:34:40.391243281Z".len(), "{received_at}");
    assert_eq!(headers.inner().get("x-attempt"), Some(&AMQPValue::LongLongInt(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_refused_while_the_queues_are_missing_and_they_are_declared_again() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    for queue in [app.topology.webhooks(), app.topology.dead()] {
        app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
    app.post(&fixtures::seed()).await.assert_refused(503);
    eventually("the queues declared anew", async || (app.post(&fixtures::seed()).await.status == 200).then_some(()))
        .await;
    assert_eq!(app.next_message("webhooks").await.data, fixtures::seed().to_string().as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_webhooks_survive_a_deleted_work_queue_on_the_dead_queue() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    app.channel.queue_delete(app.topology.webhooks().as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        app.post(&fixtures::created(*entity)).await.assert_accepted();
    }
    app.start_worker();
    let letters = app.until_dead(entities.len()).await;
    assert!(letters.iter().all(|letter| letter.failure_class == "unrouted"), "{letters:?}");
    let mut recorded: Vec<_> = letters.iter().filter_map(|letter| letter.entity_id).collect();
    let mut sent = entities;
    recorded.sort();
    sent.sort();
    assert_eq!(recorded, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_answered_503_and_an_existing_queue_with_another_delivery_limit_is_used() {
    let builder = TestApp::builder(On::Sqlite).ingress_only();
    let mut arguments = FieldTable::default();
    let dead = format!("{}.webhooks.dead", builder.namespace());
    for (name, value) in [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-dead-letter-exchange", AMQPValue::LongString(dead.as_str().into())),
        ("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into())),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ("x-delivery-limit", AMQPValue::LongLongInt(7)),
        ("x-max-length", AMQPValue::LongLongInt(3)),
    ] {
        arguments.insert(name.into(), value);
    }
    let queue = format!("{}.webhooks", builder.namespace());
    channel().await.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();

    let app = builder.build().await;
    let mut statuses: Vec<u16> = Vec::new();
    for _ in 0..20 {
        statuses.push(app.post(&fixtures::seed()).await.status);
    }
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)) && accepted < 20, "{statuses:?}");
    assert_eq!(
        app.ready_messages(&app.topology.webhooks()).await as usize,
        accepted,
        "refused webhooks are not on the queue"
    );
    app.finish_with_leftovers().await;
}
