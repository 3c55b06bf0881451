//! Dead letters that cannot be written now while others can: only the messages about them wait.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use rstest::rstest;
use sea_orm::{ConnectionTrait, Database, DatabaseTransaction, DbBackend, Statement, TransactionTrait};
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

/// Locks every dead letter that there is, until the transaction ends.
async fn lock_letters(app: &TestApp) -> DatabaseTransaction {
    let transaction = Database::connect(app.database_url()).await.unwrap().begin().await.unwrap();
    transaction.execute_unprepared("SELECT 1 FROM dead_letters FOR UPDATE").await.unwrap();
    transaction
}

/// The properties of a dead message that died of `class` at a second of its own.
fn died(id: Uuid, class: &str, second: usize) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in [("x-failure-class", class), ("x-failed-at", &format!("2026-06-01T00:00:{second:02}Z"))] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    BasicProperties::default().with_message_id(id.to_string().as_str().into()).with_headers(headers)
}

/// Publishes dead messages, of which the third cannot be recorded, and waits until the others are.
async fn publish_around(app: &TestApp, unrecordable: (Uuid, &str)) {
    let before = app.dead_letters().await.len();
    for number in 0..20 {
        let (id, class) = if number == 2 { unrecordable } else { (Uuid::now_v7(), "panicked") };
        app.publish_dead(b"garbage", died(id, class, 10 + number)).await;
    }
    app.until_dead(before + 19).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_letter_does_not_delay_the_recording_of_others() {
    let builder = TestApp::builder(On::Postgres).lock_deadline(Duration::from_millis(300));
    let app = builder.build().await;
    let id = Uuid::now_v7();
    app.publish_dead(b"garbage", died(id, "panicked", 1)).await;
    app.until_dead(1).await;
    let lock = lock_letters(&app).await;
    publish_around(&app, (id, "panicked")).await;
    lock.rollback().await.unwrap();
    let deaths = async || app.dead_letters().await.iter().find(|letter| letter.message_id == id).unwrap().deaths;
    until("a second death", async || deaths().await == 2).await;
    assert_eq!(app.dead_letters().await.len(), 20);
}

#[rstest]
#[case::sqlite(
    On::Sqlite,
    "CREATE TRIGGER refuse BEFORE INSERT ON dead_letters WHEN NEW.failure_class = 'expired' \
     BEGIN SELECT RAISE(ABORT, 'x'); END",
    "DROP TRIGGER refuse"
)]
#[case::postgres(
    On::Postgres,
    "ALTER TABLE dead_letters ADD CONSTRAINT refuse CHECK (failure_class <> 'expired')",
    "ALTER TABLE dead_letters DROP CONSTRAINT refuse"
)]
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_a_rule_refuses_does_not_delay_the_recording_of_others(
    #[case] on: On,
    #[case] add_rule: &str,
    #[case] drop_rule: &str,
) {
    let app = TestApp::start(on).await;
    app.sql(add_rule, add_rule).await;
    let refused = Uuid::now_v7();
    publish_around(&app, (refused, "expired")).await;
    assert!(app.dead_letters().await.iter().all(|letter| letter.message_id != refused));
    app.sql(drop_rule, drop_rule).await;
    let letters = app.until_dead(20).await;
    let letter = letters.iter().find(|letter| letter.message_id == refused).unwrap();
    assert_eq!((letter.failure_class.as_str(), letter.deaths), ("expired", 1), "as it died, once");
    assert_eq!(letter.last_died_at.to_rfc3339(), "2026-06-01T00:00:12+00:00");
}

/// The number of transactions that were rolled back in the app's database.
async fn rollbacks(app: &TestApp) -> i64 {
    let sql = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let row = app.store.connection().query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
    row.unwrap().try_get("", "xact_rollback").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_letters_of_replayed_webhooks_are_found_at_once_and_delay_no_other_webhook() {
    const LOCKED: usize = 12;
    let app = TestApp::builder(On::Postgres).workers(0).lock_deadline(Duration::from_millis(300)).build().await;
    let mut recorder = app.role("worker").start();
    let ids: Vec<Uuid> = (0..LOCKED).map(|_| Uuid::now_v7()).collect();
    for (second, id) in ids.iter().enumerate() {
        app.publish_dead(b"garbage", died(*id, "panicked", second)).await;
    }
    app.until_dead(LOCKED).await;
    assert_eq!(recorder.terminate().await, 0);
    app.sql("", "UPDATE dead_letters SET state = 'replaying', replays = 1").await;
    let lock = lock_letters(&app).await;
    let mut headers = FieldTable::default();
    headers.insert("x-replay".into(), AMQPValue::LongLongInt(1));
    for id in &ids {
        // Whether it ends the letter shows only once the letter can be read.
        let replayed = BasicProperties::default().with_message_id(id.to_string().as_str().into());
        let webhook = fixtures::created(Uuid::new_v4()).to_string();
        app.publish(webhook.as_bytes(), replayed.with_headers(headers.clone())).await;
    }
    let other = Uuid::new_v4();
    app.publish_webhook(&fixtures::created(other)).await;
    let before = rollbacks(&app).await;
    app.start_worker();
    app.until_link(other).await;
    // A failed attempt and a probe for each batch, of which there is at most one a message, and a few probes before. Halving would
    // take several of both for each locked letter.
    let (rolled_back, batches) = (rollbacks(&app).await - before, i64::try_from(LOCKED).unwrap() + 1);
    assert!(rolled_back <= 2 * batches + 8, "{rolled_back} transactions were rolled back");
    lock.rollback().await.unwrap();
    app.until_links(LOCKED + 1).await;
    for _ in 0..=LOCKED {
        app.next_event().await;
    }
}
