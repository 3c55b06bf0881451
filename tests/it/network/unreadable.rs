//! A message that the AMQP client cannot decode.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use testkit::proxy::{Mode, Proxy};
use testkit::waiting::until;
use testkit::{On, TestApp, amqp_url, fixtures};
use uuid::Uuid;

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

/// The bytes of a header's value that is a table of that many levels, and those of a text with the same length.
fn nested_table_and_text(levels: usize) -> (Vec<u8>, Vec<u8>) {
    let value = |kind: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind], length.as_slice(), content].concat()
    };
    let nested = (0..levels).fold(Vec::new(), |inner, _| [b"\x01t", value(b'F', &inner).as_slice()].concat());
    (value(b'F', &nested), value(b'S', &vec![b'x'; nested.len()]))
}

#[tokio::test(flavor = "multi_thread")]
async fn deeply_nested_headers_do_not_abort_the_process() {
    let app = TestApp::builder(On::Sqlite).workers(0).build().await;
    let mut worker = app.role("worker").start();
    // lapin would overflow a stack of this process, too, so the proxy writes the table.
    let (table, text) = nested_table_and_text(2_000);
    let mut headers = FieldTable::default();
    headers.insert("deep".into(), AMQPValue::LongString(vec![b'x'; text.len() - 5].into()));
    let broker = Proxy::before(&amqp_url()).await;
    broker.set(Mode::Garbled(text.leak(), table.leak()));
    let connection = lapin::Connection::connect(&broker.url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let entity = Uuid::new_v4();
    let (body, exchange) = (fixtures::created(entity).to_string(), app.topology.webhooks());
    let (options, properties) =
        (lapin::options::BasicPublishOptions::default(), BasicProperties::default().with_headers(headers));
    channel.basic_publish(exchange.as_str().into(), "lean".into(), options, body.as_bytes(), properties).await.unwrap();

    app.until_link(entity).await;
    assert_eq!(worker.terminate().await, 0, "{}", worker.log());
    app.next_event().await;
}
