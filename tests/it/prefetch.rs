//! A consumer changes its prefetch while it consumes: bodies become large and small again.

use std::sync::Arc;

use banklink::broker::{Address, Connection, Consumer, Delivery, Purpose};
use lapin::BasicProperties;
use testkit::waiting::within;
use testkit::{On, TestApp, amqp_url};

/// In this order: enough small bodies for a full prefetch, enough large ones for a lower one, and enough small ones for it to rise.
const BODIES: [(usize, usize); 3] = [(150, 500), (60, 250_000), (300, 500)];

/// An app without a worker whose work queue holds the bodies, and a consumer of it.
async fn full_queue() -> (TestApp, Consumer) {
    let app = TestApp::builder(On::Sqlite).workers(0).relays(0).unsubscribed().build().await;
    for (count, bytes) in BODIES {
        let body = vec![b'x'; bytes];
        for _ in 0..count {
            app.publish(&body, BasicProperties::default()).await;
        }
    }
    let address = Address::parse(&amqp_url()).unwrap();
    let connection = Connection::connect_once(&address, Arc::clone(&app.topology), Purpose::Consume).await.unwrap();
    let consumer = Consumer::open(&connection, &app.topology.webhooks(), 1024).await.unwrap();
    (app, consumer)
}

/// Takes a batch, and acknowledges it except for those that `holds` says to keep.
async fn take(consumer: &mut Consumer, holds: impl Fn(&Delivery) -> bool) -> (usize, Vec<Delivery>) {
    let batch = within(consumer.next_batch(16)).await.expect("the consumer goes on");
    let (held, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(holds);
    within(consumer.ack(&others)).await.unwrap();
    (others.len(), held)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_when_bodies_become_large_and_small_again() {
    let (app, mut consumer) = full_queue().await;
    let (mut taken, mut prefetches) = (0, Vec::new());
    while taken < BODIES.map(|(count, _)| count).iter().sum() {
        taken += take(&mut consumer, |_| false).await.0;
        prefetches.push(consumer.usual_prefetch());
    }
    prefetches.dedup();
    assert_eq!(prefetches, [128, 1024, 128, 1024]);
    consumer.close().await;
    app.finish().await;
}

/// A delivery tag means something on its channel only, and closing the channel returns the delivery to the queue.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_delivery_is_held_the_consumer_keeps_its_channel() {
    let (app, mut consumer) = full_queue().await;
    let (mut taken, mut held) = (0, Vec::new());
    while taken + held.len() < BODIES.map(|(count, _)| count).iter().sum() {
        let is_first_large = |delivery: &Delivery| held.is_empty() && delivery.message.body.len() > 1000;
        let (acknowledged, kept) = take(&mut consumer, is_first_large).await;
        taken += acknowledged;
        held.extend(kept);
    }
    assert!(!held.is_empty() && held.iter().all(|delivery| consumer.owns(delivery)));
    within(consumer.ack(&held)).await.unwrap();
    consumer.close().await;
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 0);
    app.finish().await;
}
