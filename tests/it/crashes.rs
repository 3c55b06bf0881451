//! Processes that die at the worst moment: repeated, not lost; and what kills them each time ends alone.

use lapin::BasicProperties;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::json;
use uuid::Uuid;

use crate::app::{On, Recipe, TestApp, amqp_url, on_both};
use crate::fixtures;
use crate::process::{Invocation, Running, banklink};
use crate::waiting::eventually;

/// A role as a process of its own, on an app's namespace and database.
pub(crate) fn role(app: &TestApp, role: &str) -> Invocation {
    banklink(&["run", role, "--admin-listen", "127.0.0.1:0"])
        .env("AMQP_URL", amqp_url())
        .env("DATABASE_URL", app.database_url())
        .env("BANKLINK_NAMESPACE", &app.namespace)
        .env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms")
        .env("BANKLINK_DELIVERY_LIMIT", app.delivery_limit().to_string())
}

async fn died_by_itself(mut process: Running) {
    assert_eq!(process.ended().await, -1, "killed by a signal: {}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_commit_and_ack_repeats_and_loses_nothing() {
    for on in [On::Sqlite, On::Postgres] {
        let app = Recipe { workers: 0, ..Recipe::on(on) }.start().await;
        let entity = Uuid::new_v4();
        app.post(&fixtures::created(entity)).await.assert_accepted();
        app.post(&json!({ "type": "entity.created" })).await.assert_accepted();
        for _ in 0..2 {
            died_by_itself(role(&app, "worker").env("BANKLINK_FAULT", "before settling").start()).await;
        }
        assert_eq!(app.bank_link(entity).await.map(|row| row.revision), Some(1), "committed before it died");
        app.start_worker();
        assert_eq!(app.until_dead(1).await[0].failure_class, "invalid_webhook");
        let events = app.settle_everything().await;
        assert_eq!(events.len(), 1, "announced once: {events:?}");
        assert_eq!(app.bank_link(entity).await.map(|row| row.revision), Some(1));
        app.assert_nothing_left_behind().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_between_publish_and_delete_repeats_the_same_event() {
    for on in [On::Sqlite, On::Postgres] {
        let app = Recipe { relays: 0, ..Recipe::on(on) }.start().await;
        app.post(&fixtures::created(Uuid::new_v4())).await.assert_accepted();
        died_by_itself(role(&app, "relay").env("BANKLINK_FAULT", "before deleting").start()).await;
        let first = app.next_event().await;
        app.start_relay();
        let second = app.next_event().await;
        assert_eq!(first, second, "the same id, the same event");
        app.assert_nothing_left_behind().await;
    }
}

on_both! {
    async fn a_process_that_is_told_to_stop_finishes_what_is_in_hand(app: TestApp) {
        let mut worker = role(&app, "worker").start();
        let entities: Vec<Uuid> = (0..200).map(|_| Uuid::new_v4()).collect();
        for entity in &entities {
            app.publish_by_hand(fixtures::created(*entity).to_string().as_bytes(), BasicProperties::default()).await;
        }
        worker.until_log("consuming").await;
        assert_eq!(worker.terminate().await, 0, "{}", worker.log());
        // What the process did not take, this app's own worker does.
        let everything = async || (app.bank_links().await.len() == entities.len()).then_some(());
        eventually("every row", everything).await;
        for _ in &entities {
            app.next_event().await;
        }
        app.assert_nothing_left_behind().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_the_worker_each_time_ends_alone() {
    let app = Recipe { workers: 0, delivery_limit: 3, ..Recipe::on(On::Postgres) }.start().await;
    let mut poison = fixtures::created(Uuid::new_v4());
    poison["banklink_fault"] = json!("abort");
    let entities: Vec<Uuid> = (0..50).map(|_| Uuid::new_v4()).collect();
    for (place, entity) in entities.iter().enumerate() {
        if place == 25 {
            app.post(&poison).await.assert_accepted();
        }
        app.post(&fixtures::created(*entity)).await.assert_accepted();
    }
    let mut crashes = 0;
    let mut worker = role(&app, "worker").start();
    let letter = loop {
        tokio::select! {
            _ = worker.ended() => {
                crashes += 1;
                worker = role(&app, "worker").start();
            }
            letters = app.until_dead(1) => break letters[0].clone(),
        }
    };
    assert_eq!(letter.failure_class, "delivery_limit");
    assert_eq!(Some(letter.entity_id), Some(Uuid::parse_str(poison["payload"]["id"].as_str().unwrap()).ok()));
    assert!((3..=6).contains(&crashes), "{crashes} crashes at a limit of 3");
    app.settle_everything().await;
    assert_eq!(app.bank_links().await.len(), entities.len(), "every neighbour went through");
    assert_eq!(app.dead_letters().await.len(), 1);
    assert_eq!(worker.terminate().await, 0);
    app.assert_nothing_left_behind().await;
}

/// A message that the broker itself put aside is told by its class, whichever road it took.
#[tokio::test(flavor = "multi_thread")]
async fn what_expired_on_the_work_queue_is_told_as_expired() {
    let recipe = Recipe { workers: 0, ..Recipe::on(On::Sqlite) };
    let channel = crate::app::channel().await;
    // Somebody's policy, in the form of a queue that was declared with a TTL.
    let mut arguments = FieldTable::default();
    let dead = format!("{}.webhooks.dead", recipe.namespace);
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", &dead),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(name.into(), lapin::types::AMQPValue::LongString(value.into()));
    }
    arguments.insert("x-message-ttl".into(), lapin::types::AMQPValue::LongLongInt(200));
    let work = format!("{}.webhooks", recipe.namespace);
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(dead.as_str().into(), lapin::ExchangeKind::Fanout, options, FieldTable::default())
        .await
        .unwrap();
    channel.queue_declare(work.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let app = recipe.start().await;
    app.post(&fixtures::seed()).await.assert_accepted();
    eventually("it expires", async || (app.ready(&app.topology.dead()).await == 1).then_some(())).await;
    app.start_worker();
    assert_eq!(app.until_dead(1).await[0].failure_class, "expired");
    app.finish().await;
}
