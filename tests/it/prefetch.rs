//! A consumer changes its prefetch while it consumes: bodies become large and small again.

use banklink::broker::{Consumer, Delivery};
use lapin::BasicProperties;
use testkit::waiting::within;
use testkit::{On, TestApp};

use crate::steps::consumer;

/// How many bodies, and of how many bytes each: enough small ones for a full prefetch.
const SMALL: (usize, usize) = (150, 500);
/// Enough large ones for a lower prefetch.
const LARGE: (usize, usize) = (60, 250_000);
/// Enough small ones after those for a full prefetch.
const SMALL_AGAIN: (usize, usize) = (300, 500);

/// An app without a worker whose work queue holds these bodies, and a consumer of it.
async fn full_queue(bodies: &[(usize, usize)]) -> (TestApp, Consumer) {
    let app = TestApp::builder(On::Sqlite).workers(0).relays(0).unsubscribed().build().await;
    for bodies in bodies {
        publish(&app, *bodies).await;
    }
    let consumer = consumer(&app, 1024).await;
    (app, consumer)
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

/// The consumers are cancelled to lower the prefetch. What they have received by then says that it may rise again.
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
    consumer.close().await;
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 0);
    app.finish().await;
}
