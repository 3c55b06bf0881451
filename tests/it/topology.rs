//! The queues and exchanges that banklink declares, and conflicts with existing ones.

use banklink::broker::Topology;
use banklink::domain::retry::Schedule;
use lapin::options::{
    BasicGetOptions, BasicNackOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use testkit::app::channel;
use testkit::process::banklink;
use testkit::waiting::eventually;
use testkit::{On, TestApp, amqp_url};
use uuid::Uuid;

#[test]
fn the_topology_is_the_documented_one() {
    let schedule = Schedule::parse("5s,30s,2m,10m,1h").unwrap();
    insta::assert_json_snapshot!("definitions", Topology::new("banklink", schedule, 20).definitions("/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_another_type_prevents_the_start_and_the_error_names_the_remedy() {
    let (channel, namespace) = (channel().await, format!("it-{}", Uuid::new_v4().simple()));
    let queue = format!("{namespace}.webhooks");
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let applied =
        banklink(&["topology", "apply"]).env("AMQP_URL", amqp_url()).env("BANKLINK_NAMESPACE", &namespace).run().await;
    assert_eq!(applied.code, 1);
    assert!(applied.stderr.contains(&queue) && applied.stderr.contains("exists with another"), "{}", applied.stderr);
    assert!(applied.stderr.contains("delete it") && applied.stderr.lines().count() == 1, "{}", applied.stderr);

    let run = banklink(&["run", "ingress", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let run = run
        .env("AMQP_URL", amqp_url())
        .env("BANKLINK_NAMESPACE", &namespace)
        .env("LEAN_WEBHOOK_SECRETS", "a-secret-of-a-test")
        .run()
        .await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("exists with another"), "{}", run.stderr);
    for queue in ["webhooks", "webhooks.dead"] {
        let queue = format!("{namespace}.{queue}");
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
    let dead = format!("{namespace}.webhooks.dead");
    channel.exchange_delete(dead.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_kind_is_reported_with_the_remedy() {
    let (channel, namespace) = (channel().await, format!("it-{}", Uuid::new_v4().simple()));
    let dead = format!("{namespace}.webhooks.dead");
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(dead.as_str().into(), ExchangeKind::Direct, options, FieldTable::default()).await.unwrap();
    let applied =
        banklink(&["topology", "apply"]).env("AMQP_URL", amqp_url()).env("BANKLINK_NAMESPACE", &namespace).run().await;
    assert_eq!(applied.code, 1);
    assert!(applied.stderr.contains("type") && applied.stderr.contains("delete it"), "{}", applied.stderr);
    channel.exchange_delete(dead.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
}

/// Without a limit, RabbitMQ 4 drops a message after 20 deliveries; with -1, which removes the limit there, RabbitMQ 3.10 drops it
/// at the first return.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_message_outlives_any_number_of_deliveries_on_every_version_of_rabbitmq() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    app.publish_dead(b"a dead message", BasicProperties::default()).await;
    let dead = app.queue("webhooks.dead");
    for _ in 0..=30 {
        let get = async || app.channel.basic_get(dead.as_str().into(), BasicGetOptions::default()).await.unwrap();
        let message = eventually("the dead message", get).await;
        message.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.unwrap();
    }
    app.finish_with_leftovers().await;
}
