//! A dependency that is away costs time, never an accepted webhook and never an attempt.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, Database, DatabaseConnection, EntityTrait, IntoActiveModel,
    PaginatorTrait, QueryFilter,
};
use serde_json::json;
use uuid::Uuid;

use crate::app::{Answer, SECRET};
use crate::fixtures;
use crate::process::{Running, banklink, metric, until_answers};
use crate::services::Services;
use crate::waiting::{eventually, http_client};

/// All roles in one process, on services of its own.
fn start(services: &Services, database_url: &str) -> Running {
    banklink(&["run", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("AMQP_URL", &services.amqp_url)
        .env("DATABASE_URL", database_url)
        .env("BANKLINK_MIGRATE", "true")
        .env("BANKLINK_RETRY_SCHEDULE", "100ms")
        .env("BANKLINK_INGRESS_DEADLINE", "1s")
        .env("LEAN_WEBHOOK_SECRETS", SECRET)
        .start()
}

pub(crate) async fn post(url: &str, webhook: &serde_json::Value) -> Answer {
    let body = webhook.to_string();
    let request = http_client().post(url).header("lean-signature", fixtures::signature(SECRET, body.as_bytes()));
    Answer::read(request.body(body).send().await.expect("an answer")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_rabbitmq_is_away_webhooks_are_refused_and_afterwards_everything_goes_on() {
    let services = Services::up("test-rabbitmq", &["rabbitmq"]).await;
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}?mode=rwc", directory.path().join("banklink.db").display());
    let mut process = start(&services, &database);
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    post(&url, &fixtures::created(Uuid::new_v4())).await.assert_accepted();

    // Blocked: the broker is there, and takes nothing in.
    services.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    let refused = eventually("a refusal", async || {
        let answer = post(&url, &fixtures::seed()).await;
        (answer.status != 200).then_some(answer)
    });
    refused.await.assert_refused(503);
    let told = until_answers(&admin, "/readyz/ingress", 503).await;
    assert_eq!(told["roles"]["ingress"]["checks"]["broker"], "RabbitMQ has blocked publishing");
    services.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    until_answers(&admin, "/readyz", 200).await;
    eventually("accepted again", async || (post(&url, &fixtures::seed()).await.status == 200).then_some(())).await;

    services.stop("rabbitmq").await;
    let refused = post(&url, &fixtures::seed()).await;
    refused.assert_refused(503);
    assert_eq!(refused.headers["retry-after"], "5");
    for role in ["", "/ingress", "/worker", "/relay"] {
        until_answers(&admin, &format!("/readyz{role}"), 503).await;
    }
    until_answers(&admin, "/livez", 200).await;
    assert_eq!(metric(&admin, "banklink_broker_connected").await, Some(0.0));

    services.start("rabbitmq").await;
    until_answers(&admin, "/readyz", 200).await;
    let entity = Uuid::new_v4();
    let answer = post(&url, &fixtures::created(entity)).await;
    assert_eq!(answer.status, 200, "{answer:?} {}", process.log());
    let store = Database::connect(&database).await.unwrap();
    eventually("the row", async || entity::bank_link::Entity::find_by_id(entity).one(&store).await.unwrap()).await;
    assert!(metric(&admin, "banklink_broker_reconnects_total").await >= Some(1.0));
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}

/// What holds up the alarm may be the very webhooks that wait: whoever waits for its end to take them waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn while_rabbitmq_takes_nothing_in_what_waits_there_is_worked_off() {
    let services = Services::up("test-alarm", &["rabbitmq", "postgres"]).await;
    services.stop("postgres").await;
    let mut process = start(&services, &services.database_url);
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz/ingress", 200).await;
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        post(&url, &fixtures::created(*entity)).await.assert_accepted();
    }
    services.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    // Its own posts have blocked the connection that the worker would publish on.
    eventually("a refusal", async || (post(&url, &fixtures::seed()).await.status == 503).then_some(())).await;
    until_answers(&admin, "/readyz/ingress", 503).await;
    services.start("postgres").await;
    let store = eventually("the database", async || Database::connect(&services.database_url).await.ok()).await;
    for entity in entities {
        let row = async || entity::bank_link::Entity::find_by_id(entity).one(&store).await.ok().flatten();
        eventually("the row", row).await;
    }
    until_answers(&admin, "/readyz/ingress", 503).await;
    services.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    until_answers(&admin, "/readyz", 200).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_the_worker_pauses_and_no_attempt_is_spent() {
    let services = Services::up("test-postgres", &["rabbitmq", "postgres"]).await;
    let mut process = start(&services, &services.database_url);
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;

    services.stop("postgres").await;
    until_answers(&admin, "/readyz/worker", 503).await;
    until_answers(&admin, "/readyz/ingress", 200).await;
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        post(&url, &fixtures::created(*entity)).await.assert_accepted();
    }
    eventually("a pause", async || (metric(&admin, "banklink_worker_paused").await == Some(1.0)).then_some(())).await;

    services.start("postgres").await;
    until_answers(&admin, "/readyz", 200).await;
    let store = Database::connect(&services.database_url).await.unwrap();
    let all_there = async || {
        let rows = entity::bank_link::Entity::find().count(&store).await.unwrap();
        (rows == 20).then_some(())
    };
    eventually("every row", all_there).await;
    for (outcome, deliveries) in [("retried", 0.0), ("dead", 0.0), ("stale", 0.0), ("applied", 20.0)] {
        let name = format!("banklink_worker_deliveries_total{{outcome=\"{outcome}\"}}");
        assert_eq!(metric(&admin, &name).await, Some(deliveries), "{name}");
    }
    assert_eq!(metric(&admin, "banklink_worker_paused").await, Some(0.0));
    assert_eq!(entity::dead_letter::Entity::find().count(&store).await.unwrap(), 0);
    assert_eq!(json!(process.terminate().await), json!(0), "{}", process.log());
}

const LETTERS: usize = 5_000;

/// Letters that died in a bad deploy: nothing is wrong with them.
async fn bury(store: &DatabaseConnection, letters: usize) {
    let now = chrono::Utc::now();
    let letters = (0..letters).map(|_| entity::dead_letter::Model {
        message_id: Uuid::now_v7(),
        source: "lean".to_owned(),
        body: fixtures::created(Uuid::new_v4()).to_string().into_bytes(),
        event_type: Some("entity.created".to_owned()),
        entity_id: None,
        failure_class: "panicked".to_owned(),
        failure: "a bad deploy".to_owned(),
        fingerprint: "0123456789ab".to_owned(),
        attempts: 6,
        received_at: now,
        first_died_at: now,
        last_died_at: now,
        deaths: 1,
        state: "dead".to_owned(),
        outcome: None,
        replays: 0,
        replayed_at: None,
        replayed_by: None,
        resolved_at: None,
        note: None,
        wire_id: None,
        received_nanos: now.timestamp_nanos_opt().expect("before 2262"),
        edited_from: None,
        traceparent: None,
        claimed_until: None,
    });
    let letters: Vec<_> = letters.map(|letter| letter.into_active_model().reset_all()).collect();
    for letters in letters.chunks(1_000) {
        entity::dead_letter::Entity::insert_many(letters.to_vec()).exec_without_returning(store).await.expect("buried");
    }
}

async fn in_state(store: &DatabaseConnection, state: &str) -> usize {
    let letters = entity::dead_letter::Entity::find().filter(entity::dead_letter::Column::State.eq(state));
    usize::try_from(letters.count(store).await.expect("a count")).expect("a small count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_thousands_survives_the_death_of_everything_in_its_middle() {
    let services = Services::up("test-replay", &["rabbitmq", "postgres"]).await;
    let on_services = |arguments: &[&str]| {
        banklink(arguments).env("AMQP_URL", &services.amqp_url).env("DATABASE_URL", &services.database_url)
    };
    let worker =
        || on_services(&["run", "worker", "--admin-listen", "127.0.0.1:0"]).env("BANKLINK_MIGRATE", "true").start();
    let mut first = worker();
    until_answers(&first.admin().await, "/readyz", 200).await;
    let store = Database::connect(&services.database_url).await.unwrap();
    bury(&store, LETTERS).await;

    let mut replay =
        on_services(&["dead-letters", "replay", "--class", "panicked", "--yes", "--rate", "2000/s"]).start();
    eventually("some are resolved", async || (in_state(&store, "resolved").await > 500).then_some(())).await;
    first.kill().await;
    replay.kill().await;
    services.kill("rabbitmq").await;
    assert!(in_state(&store, "resolved").await < LETTERS, "in the middle");
    services.start("rabbitmq").await;
    let mut second = worker();
    until_answers(&second.admin().await, "/readyz", 200).await;

    let run_out = "UPDATE dead_letters SET claimed_until = now() - interval '1 s' WHERE claimed_until IS NOT NULL";
    store.execute_unprepared(run_out).await.unwrap();
    let again = on_services(&["dead-letters", "replay", "--class", "panicked", "--yes", "--json"]).run().await;
    assert_eq!(again.code, 0, "{again:?}");
    eventually("every letter resolved", async || (in_state(&store, "resolved").await == LETTERS).then_some(())).await;
    assert_eq!(entity::bank_link::Entity::find().count(&store).await.unwrap(), LETTERS as u64, "every link is there");
    let announced = entity::outbox_event::Entity::find().count(&store).await.unwrap();
    assert_eq!(announced, LETTERS as u64, "and every event waits for a relay, once");
    assert_eq!(second.terminate().await, 0);
}
