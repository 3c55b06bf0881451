//! A replay of thousands of dead letters during which everything dies.

use sea_orm::{ColumnTrait, ConnectionTrait, Database, DatabaseConnection, EntityTrait, PaginatorTrait, QueryFilter};
use testkit::app::insert_dead_letters;
use testkit::fixtures;
use testkit::process::{banklink, until_answers};
use testkit::services::Services;
use testkit::waiting::until;
use uuid::Uuid;

const LETTERS: usize = 5_000;

/// The number of dead letters in a state.
async fn in_state(store: &DatabaseConnection, state: &str) -> usize {
    let letters = entity::dead_letter::Entity::find().filter(entity::dead_letter::Column::State.eq(state));
    usize::try_from(letters.count(store).await.expect("a count")).expect("a small count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_completed_after_the_replay_the_worker_and_rabbitmq_were_killed() {
    let services = Services::up("test-replay", &["rabbitmq", "postgres"]).await;
    let on_services = |arguments: &[&str]| {
        banklink(arguments).env("AMQP_URL", &services.amqp_url).env("DATABASE_URL", &services.database_url)
    };
    let worker = || on_services(&["run", "worker"]).on_free_ports().env("BANKLINK_MIGRATE", "true").start();
    let mut first = worker();
    until_answers(&first.admin().await, "/readyz", 200).await;
    let store = Database::connect(&services.database_url).await.unwrap();
    insert_dead_letters(&store, (0..LETTERS).map(|_| fixtures::created(Uuid::new_v4()))).await;

    let mut replay =
        on_services(&["dead-letters", "replay", "--class", "panicked", "--yes", "--rate", "500/s"]).start();
    until("some resolved letters", async || in_state(&store, "resolved").await > 500).await;
    first.kill().await;
    replay.kill().await;
    services.kill("rabbitmq").await;
    assert!(in_state(&store, "resolved").await < LETTERS, "the replay is not complete");
    services.start("rabbitmq").await;
    let mut second = worker();
    until_answers(&second.admin().await, "/readyz", 200).await;

    let expire = "UPDATE dead_letters SET claimed_until = now() - interval '1 s' WHERE claimed_until IS NOT NULL";
    store.execute_unprepared(expire).await.unwrap();
    let again = on_services(&["dead-letters", "replay", "--class", "panicked", "--yes", "--json"]).run().await;
    assert_eq!(again.code, 0, "{again:?}");
    until("every letter resolved", async || in_state(&store, "resolved").await == LETTERS).await;
    assert_eq!(
        entity::bank_link::Entity::find().count(&store).await.unwrap(),
        LETTERS as u64,
        "a row for every letter"
    );
    let announced = entity::outbox_event::Entity::find().count(&store).await.unwrap();
    assert_eq!(announced, LETTERS as u64, "one event for every row");
    assert_eq!(second.terminate().await, 0);
}
