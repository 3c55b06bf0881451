//! A row that cannot be written while other rows can: its webhook is deferred without spending an attempt, and the rest of the
//! batch is written.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use rstest::rstest;
use sea_orm::{ConnectionTrait, Database, DatabaseTransaction, TransactionTrait};
use serde_json::json;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use crate::outages::rules::refusing_trigger;

const TIER: &str = "500ms";
/// How long a statement waits for a lock. The worker waits several times until it has found the locked row.
const LOCK_DEADLINE: Duration = Duration::from_millis(300);

/// An app without a worker, whose retry copies can be read from the queue "copies".
async fn app_with_copies() -> TestApp {
    let builder = TestApp::builder(On::Postgres).workers(0).unsubscribed().delivery_limit(1).schedule("500ms,500ms");
    let app = builder.lock_deadline(LOCK_DEADLINE).build().await;
    app.subscribe("copies", &app.topology.retry(), TIER).await;
    app
}

/// An app with a worker and twenty bank links.
async fn twenty_links() -> (TestApp, Vec<Uuid>) {
    let app = app_with_copies().await;
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        app.publish_webhook(&fixtures::created(*entity)).await;
    }
    app.start_worker();
    app.until_links(20).await;
    (app, entities)
}

async fn reconnect(app: &TestApp, entities: &[Uuid]) {
    for entity in entities {
        app.publish_webhook(&fixtures::reconnected(*entity, "2026-06-01T00:00:00Z")).await;
    }
}

/// Another session that has executed `sql` in a transaction, and leaves it open.
async fn open_transaction(app: &TestApp, sql: &str) -> DatabaseTransaction {
    let transaction = Database::connect(app.database_url()).await.unwrap().begin().await.unwrap();
    transaction.execute_unprepared(sql).await.unwrap();
    transaction
}

/// Asserts that webhooks about `entity`, and no others, are copied to a retry tier, more often than the schedule or the
/// delivery limit allows for a failure, and at attempt 1 each time.
async fn assert_deferred(app: &TestApp, entity: Uuid) {
    for _ in 0..4 {
        let copy = app.next_message("copies").await;
        let headers = copy.properties.headers().clone().unwrap_or_default();
        assert_eq!(headers.inner().get("x-attempt").and_then(AMQPValue::as_long_long_int), Some(1));
        let webhook: serde_json::Value = serde_json::from_slice(&copy.data).unwrap();
        assert_eq!(webhook["payload"]["id"], json!(entity), "no other webhook is deferred");
    }
}

async fn finish(app: TestApp) {
    assert!(app.dead_letters().await.is_empty());
    app.until_outbox_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_about_a_locked_row_is_deferred_and_does_not_delay_others() {
    let (app, entities) = twenty_links().await;
    let (locked, others) = entities.split_first().unwrap();
    let lock =
        open_transaction(&app, &format!("SELECT 1 FROM bank_links WHERE entity_id = '{locked}' FOR UPDATE")).await;
    reconnect(&app, &entities).await;
    app.until_reconnected(others).await;
    assert_deferred(&app, *locked).await;
    assert!(app.bank_link(*locked).await.unwrap().reconnected_at.is_none());
    lock.rollback().await.unwrap();
    app.until_reconnected(&[*locked]).await;
    finish(app).await;
}

/// Until the commit, other sessions cannot see such a row, but they wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_about_an_uncommitted_row_is_deferred_and_does_not_delay_others() {
    let (app, entities) = twenty_links().await;
    let inserted = Uuid::new_v4();
    let insert = format!(
        "INSERT INTO bank_links SELECT (jsonb_populate_record(b, '{{\"entity_id\": \"{inserted}\"}}')).* \
         FROM bank_links b LIMIT 1"
    );
    let insertion = open_transaction(&app, &insert).await;
    app.publish_webhook(&fixtures::created(inserted)).await;
    reconnect(&app, &entities).await;
    app.until_reconnected(&entities).await;
    assert_deferred(&app, inserted).await;
    assert!(app.bank_link(inserted).await.is_none());
    insertion.rollback().await.unwrap();
    app.until_link(inserted).await;
    finish(app).await;
}

/// The letter's webhook is of an ignored type, so only the resolution of the letter needs the locked row.
#[tokio::test(flavor = "multi_thread")]
async fn the_replay_of_a_locked_dead_letter_is_deferred_and_does_not_delay_others() {
    let app = app_with_copies().await;
    let id = Uuid::now_v7();
    let replay_of = |replay: i64| {
        let mut headers = FieldTable::default();
        headers.insert("x-replay".into(), AMQPValue::LongLongInt(replay));
        BasicProperties::default().with_message_id(id.to_string().as_str().into()).with_headers(headers)
    };
    let body = br#"{"type":"results.ready"}"#;
    app.publish_dead(body, replay_of(0)).await;
    app.start_worker();
    app.until_dead(1).await;
    app.sql("", "UPDATE dead_letters SET state = 'replaying', replays = 1").await;
    let lock = open_transaction(&app, "SELECT 1 FROM dead_letters FOR UPDATE").await;
    let entity = Uuid::new_v4();
    app.publish(body, replay_of(1)).await;
    app.publish_webhook(&fixtures::created(entity)).await;
    app.until_link(entity).await;
    let copy = app.next_message("copies").await;
    assert_eq!(copy.data, body, "only the replay is deferred");
    lock.rollback().await.unwrap();
    until("a resolved letter", async || app.dead_letters().await[0].state == "resolved").await;
    app.until_outbox_is_empty().await;
}

#[rstest]
#[case::cancelled("57014")]
#[case::internal("XX000")]
#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_a_database_error_that_is_not_its_own_is_deferred_and_does_not_delay_others(#[case] sqlstate: &str) {
    let (app, entities) = twenty_links().await;
    let failing = Uuid::new_v4();
    let condition = format!("NEW.entity_id = '{failing}'");
    app.sql("", &refusing_trigger(sqlstate, "BEFORE INSERT", &condition)).await;
    app.publish_webhook(&fixtures::created(failing)).await;
    reconnect(&app, &entities).await;
    app.until_reconnected(&entities).await;
    assert_deferred(&app, failing).await;
    assert!(app.bank_link(failing).await.is_none());
    app.sql("", "DROP FUNCTION refuse CASCADE").await;
    app.until_link(failing).await;
    finish(app).await;
}
