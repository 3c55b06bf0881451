//! Two batches in flight, on PostgreSQL: a full one is written while the one before still waits for the database.

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use testkit::waiting::until;
use testkit::{On, Slow, TestApp, fixtures};
use uuid::Uuid;

/// An app whose batches of two webhooks are full, after a first batch that is still being written: `body` of a trigger delays the
/// insert of `entity`.
async fn with_a_slow_batch(entity: Uuid, body: &str) -> TestApp {
    let app = TestApp::builder(On::Postgres).workers(0).batch_size(2).schedule("1h").unsubscribed().build().await;
    app.delay(Slow::InsertBankLink, entity, body).await;
    app.start_worker();
    // Until a first delivery is settled, the prefetch is 1, and batches follow each other.
    let first = Uuid::new_v4();
    app.publish_webhook(&fixtures::created(first)).await;
    app.until_link(first).await;
    app
}

/// Publishes `entity.created` and waits until the trigger delays it.
async fn publish_slow(app: &TestApp, entity: Uuid, wait_event: &str) {
    app.publish_webhook(&fixtures::created(entity)).await;
    until("a slow batch", async || app.is_waiting_for(wait_event).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_batches_are_written_while_the_one_before_waits() {
    let entities: [Uuid; 5] = std::array::from_fn(|_| Uuid::new_v4());
    let app = with_a_slow_batch(entities[0], "PERFORM pg_advisory_xact_lock(1);").await;
    let other_session = Database::connect(app.database_url()).await.unwrap();
    let lock = other_session.begin().await.unwrap();
    lock.execute_unprepared("SELECT pg_advisory_xact_lock(1)").await.unwrap();
    publish_slow(&app, entities[0], "advisory").await;
    for entity in &entities[1..] {
        app.publish_webhook(&fixtures::created(*entity)).await;
    }
    for entity in &entities[1..] {
        app.until_link(*entity).await;
    }
    assert!(app.bank_link(entities[0]).await.is_none(), "the first batch still waits");
    lock.commit().await.unwrap();
    app.until_link(entities[0]).await;
    other_session.close().await.unwrap();
}

/// The row does not exist yet when the second webhook is received: written beside the first, it would fail and be retried later.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_about_one_bank_link_are_written_one_after_the_other() {
    let entity = Uuid::new_v4();
    let app = with_a_slow_batch(entity, "PERFORM pg_sleep(0.5);").await;
    publish_slow(&app, entity, "PgSleep").await;
    app.publish_webhook(&fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await;
    app.publish_webhook(&fixtures::created(Uuid::new_v4())).await;
    app.until_reconnected(&[entity]).await;
}
