//! A consumer changes its prefetch while it consumes: bodies become large and small again, messages come that were delivered before, and
//! deliveries are held.

use std::time::Duration;

use banklink::broker::{Consumer, Delivery};
use lapin::BasicProperties;
use testkit::waiting::within;
use testkit::{On, TestApp};
use tokio::time::timeout;

use crate::steps::consumer;

/// How many bodies, and of how many bytes each: enough small ones for a full prefetch.
const SMALL: (usize, usize) = (150, 500);
/// Enough large ones for a lower prefetch.
const LARGE: (usize, usize) = (60, 250_000);
/// Enough small ones after those for a full prefetch.
const SMALL_AGAIN: (usize, usize) = (300, 500);

/// An app without a worker whose work queue holds these bodies, and a consumer of it.
async fn full_queue(bodies: &[(usize, usize)]) -> (TestApp, Consumer) {
    let app = without_a_worker().await;
    for bodies in bodies {
        publish(&app, *bodies).await;
    }
    let consumer = consumer(&app, 1024).await;
    (app, consumer)
}

async fn without_a_worker() -> TestApp {
    TestApp::builder(On::Sqlite).workers(0).relays(0).unsubscribed().build().await
}

async fn publish(app: &TestApp, (count, bytes): (usize, usize)) {
    let body = vec![b'x'; bytes];
    for _ in 0..count {
        app.publish(&body, BasicProperties::default()).await;
    }
}

/// Takes a batch and acknowledges all of it but what `holds` selects. Returns how many it acknowledged, and the others.
async fn take(consumer: &mut Consumer, holds: impl Fn(&Delivery) -> bool) -> (usize, Vec<Delivery>) {
    let batch = within(consumer.next_batch(16)).await.expect("the consumer goes on");
    let (held, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(holds);
    within(consumer.ack(&others, None)).await.unwrap();
    (others.len(), held)
}

/// To lower the prefetch, the consumers are cancelled. What they have received by then may say that it is to rise again.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_when_bodies_become_large_and_small_again() {
    let (app, mut consumer) = full_queue(&[]).await;
    let mut prefetches = vec![consumer.usual_prefetch()];
    for bodies in [SMALL, LARGE, SMALL_AGAIN] {
        publish(&app, bodies).await;
        let mut taken = 0;
        while taken < bodies.0 {
            taken += take(&mut consumer, |_| false).await.0;
        }
        prefetches.push(consumer.usual_prefetch());
    }
    assert_eq!(prefetches, [128, 1024, 128, 1024]);
    publish(&app, (1, 500)).await;
    assert_eq!(take(&mut consumer, |_| false).await.0, 1);
    consumer.close().await;
    app.finish().await;
}

/// A delivery tag means something on its channel only, and closing the channel returns the delivery to the queue.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_delivery_is_held_the_consumer_keeps_its_channel() {
    let (app, mut consumer) = full_queue(&[SMALL, LARGE]).await;
    let (mut taken, mut held) = (0, Vec::new());
    while taken + held.len() < SMALL.0 + LARGE.0 {
        let is_of_the_first_large = |delivery: &Delivery| held.is_empty() && delivery.message.body.len() > SMALL.1;
        let (acknowledged, kept) = take(&mut consumer, is_of_the_first_large).await;
        taken += acknowledged;
        held.extend(kept);
    }
    assert_eq!(consumer.usual_prefetch(), 128, "it is to be lowered");
    publish(&app, (1, 500)).await;
    assert_eq!(take(&mut consumer, |_| false).await.0, 1);
    assert!(!held.is_empty() && held.iter().all(|delivery| consumer.owns(delivery)));
    within(consumer.ack(&held, None)).await.unwrap();
    // The first one may have arrived on the same channel.
    for _ in 0..2 {
        publish(&app, (1, 500)).await;
        assert_eq!(take(&mut consumer, |_| false).await.0, 1);
    }
    assert!(!consumer.owns(&held[0]), "the channel was replaced once nothing was held");
    consumer.close().await;
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 0);
    app.finish().await;
}

/// A consumer that has received the only message.
async fn with_a_delivery(app: &TestApp) -> Consumer {
    publish(app, (1, 500)).await;
    let mut consumer = consumer(app, 1024).await;
    assert_eq!(within(consumer.next_batch(16)).await.unwrap().len(), 1);
    consumer
}

/// It may have crashed a worker, and would crash the batch in flight, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_delivered_before_makes_no_batch_beside_another() {
    let app = without_a_worker().await;
    let lost = with_a_delivery(&app).await;
    let mut consumer = consumer(&app, 1024).await;
    publish(&app, SMALL).await;
    let mut taken = 0;
    while taken < SMALL.0 {
        taken += take(&mut consumer, |_| false).await.0;
    }
    publish(&app, (1, 500)).await;
    let beside_another = within(consumer.next_full_batch(1)).await.unwrap();
    within(consumer.ack(&beside_another, None)).await.unwrap();

    lost.close().await;
    // A batch would be returned as soon as the message arrives. That none is returned can only be seen for a while.
    let again = timeout(Duration::from_millis(200), consumer.next_full_batch(1)).await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(take(&mut consumer, |_| false).await.0, 1);
    consumer.close().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_arrive_while_one_that_was_delivered_before_is_held() {
    let app = without_a_worker().await;
    with_a_delivery(&app).await.close().await;
    let mut consumer = consumer(&app, 1024).await;
    let (_, held) = take(&mut consumer, |_| true).await;
    publish(&app, (1, 500)).await;
    assert_eq!(take(&mut consumer, |_| false).await.0, 1);
    within(consumer.ack(&held, None)).await.unwrap();
    consumer.close().await;
    app.finish().await;
}
