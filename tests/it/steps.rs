//! The steps inside the loops, each called once by the test: a batch of the worker, a claim of the relay.

use std::sync::Arc;

use banklink::broker::{Address, Connection, Consumer, Purpose};
use banklink::relay::Events;
use banklink::worker::HeldDeliveries;
use lapin::BasicProperties;
use rstest::rstest;
use serde_json::json;
use testkit::waiting::{eventually, within};
use testkit::{On, TestApp, amqp_url, fixtures};
use uuid::Uuid;

/// A consumer of the app's work queue.
pub(crate) async fn consumer(app: &TestApp, max_prefetch: u16) -> Consumer {
    let address = Address::parse(&amqp_url()).unwrap();
    let connection = Connection::connect_once(&address, Arc::clone(&app.topology), Purpose::Consume).await.unwrap();
    Consumer::open(&connection, &app.topology.webhooks(), max_prefetch).await.unwrap()
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_writes_the_row_with_its_event_and_a_claim_publishes_the_event(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).relays(0).build().await;
    let (worker, relay) = (app.worker(), app.relay());
    let mut consumer = consumer(&app, 1).await;
    let entity = Uuid::new_v4();
    app.publish_webhook(&fixtures::created(entity)).await;

    let batch = within(consumer.next_batch(256)).await.unwrap();
    worker.handle(&mut consumer, batch, &mut HeldDeliveries::default()).await.unwrap();
    assert!(app.bank_link(entity).await.is_some());
    assert_eq!(app.outbox().await.len(), 1, "in the same transaction");

    let claimed = eventually("a connected relay", async || relay.step(Events::New).await.ok()).await;
    assert_eq!(claimed, 1);
    assert!(app.outbox().await.is_empty());
    assert_eq!(app.next_event().await["data"]["entity_id"], json!(entity));
    assert_eq!(relay.step(Events::New).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_ignored_failed_and_malformed_deliveries_are_settled_differently() {
    let app = TestApp::builder(On::Sqlite).workers(0).relays(0).schedule("1h").unsubscribed().build().await;
    let worker = app.worker();
    let mut consumer = consumer(&app, 1).await;
    let malformed = b"{\"type\"";
    app.publish_webhook(&fixtures::created(Uuid::new_v4())).await;
    app.publish_webhook(&json!({ "type": "results.ready" })).await;
    app.publish_webhook(&fixtures::reconnected(Uuid::new_v4(), "2026-06-01T00:00:00Z")).await;
    app.publish(malformed, BasicProperties::default()).await;

    let mut handled = 0;
    while handled < 4 {
        let batch = within(consumer.next_batch(256)).await.unwrap();
        handled += batch.len();
        worker.handle(&mut consumer, batch, &mut HeldDeliveries::default()).await.unwrap();
    }
    assert_eq!(app.bank_links().await.len(), 1, "applied");
    assert_eq!(app.ready_messages(&app.queue("webhooks.retry.1h")).await, 1, "the unknown entity is retried");
    assert_eq!(app.ready_messages(&app.topology.dead()).await, 1, "malformed JSON is dead at once");
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 0, "the ignored type is acknowledged");
    drop(worker);
    app.finish_with_leftovers().await;
}
