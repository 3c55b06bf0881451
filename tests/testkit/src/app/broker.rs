//! The queues of an app, seen from outside.

use banklink::domain::event;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, ConnectionProperties};
use serde_json::Value;
use uuid::Uuid;

use super::TestApp;
use crate::published::assert_valid_event;
use crate::waiting::eventually;
use crate::{SERVICES_MISSING, amqp_url, fixtures};

/// Opens a channel in confirm mode on the shared RabbitMQ.
pub async fn channel() -> Channel {
    let connection =
        lapin::Connection::connect(&amqp_url(), ConnectionProperties::default()).await.expect(SERVICES_MISSING);
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel
}

impl TestApp {
    /// The full name of one of its queues.
    #[must_use]
    pub fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.namespace)
    }

    /// Its queues, the retry tiers included.
    pub(super) fn queues(&self) -> Vec<String> {
        let subscriber = self.subscribed.then_some("subscriber");
        let names = ["webhooks", "webhooks.dead"].into_iter().chain(subscriber).map(|name| self.queue(name));
        let tiers =
            self.topology.schedule().tiers().into_iter().map(|tier| format!("{}.{tier}", self.topology.retry()));
        names.chain(tiers).collect()
    }

    /// Declares a queue that lives as long as the app, and binds it to an exchange of the app.
    pub async fn subscribe(&self, name: &str, exchange: &str, key: &str) {
        self.subscribe_with(name, exchange, key, FieldTable::default()).await;
    }

    /// Like [`TestApp::subscribe`], with arguments for the queue.
    pub async fn subscribe_with(&self, name: &str, exchange: &str, key: &str, arguments: FieldTable) {
        let queue = self.queue(name);
        self.subscriptions.lock().expect("not poisoned").push(queue.clone());
        let declared = self.channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments);
        declared.await.expect("a queue");
        let (queue, exchange) = (queue.as_str().into(), exchange.into());
        let bound =
            self.channel.queue_bind(queue, exchange, key.into(), QueueBindOptions::default(), FieldTable::default());
        bound.await.expect("a binding");
    }

    /// Publishes a message to the work queue, without the ingress.
    pub async fn publish(&self, body: &[u8], properties: BasicProperties) {
        self.publish_to(&self.topology.webhooks(), "lean", body, properties).await;
    }

    /// Publishes a webhook to the work queue, without the ingress.
    pub async fn publish_webhook(&self, webhook: &Value) {
        self.publish(webhook.to_string().as_bytes(), BasicProperties::default()).await;
    }

    /// Publishes a message to the dead queue.
    pub async fn publish_dead(&self, body: &[u8], properties: BasicProperties) {
        self.publish_to(&self.topology.dead(), "", body, properties).await;
    }

    /// Publishes a message to an exchange of the app.
    pub async fn publish_to(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions::default();
        let published = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties);
        let confirmed = published.await.expect("published").await.expect("confirmed");
        assert!(confirmed.is_ack(), "{confirmed:?}");
    }

    /// Waits until everything posted so far has been processed: posts one more webhook, waits for its event, and deletes its
    /// row. Returns the events before that one.
    pub async fn wait_until_processed(&self) -> Vec<Value> {
        let last = fixtures::created(Uuid::new_v4());
        self.post(&last).await.assert_accepted();
        let mut events = Vec::new();
        loop {
            let event = self.next_event().await;
            if event["data"]["entity_id"] == last["payload"]["id"] {
                break;
            }
            events.push(event);
        }
        let id = Uuid::parse_str(last["payload"]["id"].as_str().unwrap_or_default()).expect("an id");
        self.delete_bank_link(id).await;
        events
    }

    /// Waits for the next event at the subscriber.
    pub async fn next_event(&self) -> Value {
        serde_json::from_slice(&self.next_message("subscriber").await.data).expect("an event is JSON")
    }

    /// Waits for the next message on one of the app's queues, and takes it. If it is an event, the published schema must allow it.
    pub async fn next_message(&self, queue: &str) -> lapin::message::Delivery {
        let queue = self.queue(queue);
        let what = format!("a message on {queue}");
        let message = eventually(&what, async || {
            let got = self.channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await;
            got.expect("the queue exists").map(|message| message.delivery)
        });
        let message = message.await;
        if message.properties.content_type().as_ref().is_some_and(|kind| kind.as_str() == event::CONTENT_TYPE) {
            assert_valid_event(&serde_json::from_slice(&message.data).expect("an event is JSON"));
        }
        message
    }

    /// The number of messages that are ready on a queue.
    pub async fn ready_messages(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        declared.await.expect("the queue exists").message_count()
    }
}
