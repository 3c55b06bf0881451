//! Events reach whoever has subscribed, and one that is refused holds up no other.

use std::collections::BTreeSet;

use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use sea_orm::EntityTrait;
use serde_json::json;
use uuid::Uuid;

use crate::app::{On, Recipe, TestApp, on_both};
use crate::fixtures;
use crate::waiting::eventually;

on_both! {
    async fn an_event_is_a_cloud_event_and_persistent(app: TestApp) {
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
        app.finish().await;
    }

    async fn a_refused_event_waits_by_itself_and_holds_up_no_other(app: TestApp) {
        let queue = subscribe_with_a_full_queue(&app, "customer.bank_link_updated").await;
        let entity = Uuid::new_v4();
        app.post(&fixtures::created(entity)).await.assert_accepted();
        app.settle_everything().await;
        app.post(&fixtures::updated(entity, "2026-06-01T00:00:00Z", &json!(["accounts"]))).await.assert_accepted();
        let refused = eventually("a refusal", async || {
            let waiting = entity::outbox_event::Entity::find().all(app.store.connection()).await.unwrap();
            waiting.into_iter().find(|event| event.refusals > 0)
        });
        let refused = refused.await;
        assert!(refused.retry_at.is_some());
        let others = Uuid::new_v4();
        app.post(&fixtures::created(others)).await.assert_accepted();
        loop {
            let event = app.next_event().await;
            if event["data"]["entity_id"] == json!(others) {
                break;
            }
            assert_eq!(event["id"], json!(refused.id), "the same event each time it is tried");
        }
        app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        until_the_outbox_is_empty(&app).await;
        app.finish().await;
    }

    async fn while_a_subscriber_refuses_every_event_the_others_hear_of_all(app: TestApp) {
        let queue = subscribe_with_a_full_queue(&app, "#").await;
        let mut missing: BTreeSet<String> = (0..300).map(|_| Uuid::new_v4().to_string()).collect();
        for entity in &missing {
            let webhook = fixtures::created(entity.parse().unwrap()).to_string();
            app.publish_by_hand(webhook.as_bytes(), lapin::BasicProperties::default()).await;
        }
        while !missing.is_empty() {
            missing.remove(app.next_event().await["data"]["entity_id"].as_str().unwrap());
        }
        eventually("all of them are put off", async || {
            let waiting = entity::outbox_event::Entity::find().all(app.store.connection()).await.unwrap();
            (waiting.len() == 300 && waiting.iter().all(|event| event.retry_at.is_some())).then_some(())
        })
        .await;
        app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        until_the_outbox_is_empty(&app).await;
        app.finish().await;
    }
}

/// A subscriber that takes no event in, and says so; its queue.
async fn subscribe_with_a_full_queue(app: &TestApp, key: &str) -> String {
    let (queue, events) = (app.queue("full"), app.topology.events());
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    app.channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let (exchange, options) = (events.as_str().into(), QueueBindOptions::default());
    app.channel.queue_bind(queue.as_str().into(), exchange, key.into(), options, FieldTable::default()).await.unwrap();
    queue
}

async fn until_the_outbox_is_empty(app: &TestApp) {
    eventually("the outbox empty", async || {
        let left = entity::outbox_event::Entity::find().all(app.store.connection()).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_relays_side_by_side_publish_each_event_once_on_postgres() {
    let app = Recipe { relays: 3, ..Recipe::on(On::Postgres) }.start().await;
    let entities: Vec<Uuid> = (0..300).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        app.publish_by_hand(fixtures::created(*entity).to_string().as_bytes(), lapin::BasicProperties::default()).await;
    }
    let mut seen = std::collections::BTreeMap::new();
    for event in app.settle_everything().await {
        *seen.entry(event["data"]["entity_id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    // The last event may overtake others that another relay has in hand.
    while seen.len() < entities.len() {
        let event = app.next_event().await;
        *seen.entry(event["data"]["entity_id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!(entities.iter().all(|entity| seen.get(&entity.to_string()) == Some(&1)), "{seen:?}");
    app.assert_nothing_left_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_subscriber_can_start_from_the_past() {
    let app = TestApp::start(On::Sqlite).await;
    app.post(&fixtures::seed()).await.assert_accepted();
    let event = app.next_event().await;

    let channel = crate::app::channel().await;
    channel.basic_qos(10, lapin::options::BasicQosOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let options = lapin::options::BasicConsumeOptions::default();
    let log = app.queue("events.log");
    let mut stream = channel.basic_consume(log.as_str().into(), "".into(), options, arguments).await.unwrap();
    let past = crate::waiting::within(futures_util::StreamExt::next(&mut stream)).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&past.data).unwrap(), event);
    app.finish().await;
}
