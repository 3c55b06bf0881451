//! A message that the AMQP client cannot decode.

use lapin::BasicProperties;
use testkit::proxy::{Mode, Proxy};
use testkit::waiting::until;
use testkit::{On, TestApp, amqp_url};

use super::{post_some, until_processed};

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_dead_message_does_not_disturb_the_work_queue() {
    let app = TestApp::builder(On::Postgres).workers(0).unsubscribed().delivery_limit(1).build().await;
    // A short string that is not UTF-8: RabbitMQ accepts it, and lapin closes the connection that receives it.
    let broker = Proxy::before(&amqp_url()).await;
    broker.set(Mode::Garbled(b"garble-me", b"garble-\xff\xff"));
    let connection = lapin::Connection::connect(&broker.url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (dead, options) = (app.topology.dead(), lapin::options::BasicPublishOptions::default());
    let unreadable = BasicProperties::default().with_app_id("garble-me".into());
    channel.basic_publish(dead.as_str().into(), "".into(), options, b"{}", unreadable).await.unwrap().await.unwrap();
    until("a message on the dead queue", async || app.ready_messages(&dead).await == 1).await;

    let mut worker = app.role("worker").start();
    let lost = r#""message":"lost the connection to RabbitMQ","connection":"#;
    let mut accepted = Vec::new();
    // With a delivery limit of 1, two losses of the work connection would make dead letters of its unacknowledged deliveries.
    for losses in 1..=4 {
        accepted.extend(post_some(&app.url, 100).await);
        until("another lost connection", async || worker.log().matches(lost).count() >= losses).await;
    }
    until_processed(&app, &accepted).await;
    assert_eq!(worker.log().matches(&format!(r#"{lost}"consume""#)).count(), 0, "{}", worker.log());
    assert_eq!(worker.terminate().await, 0, "{}", worker.log());
    // The unreadable message stays on the dead queue.
    app.finish_with_leftovers().await;
}
