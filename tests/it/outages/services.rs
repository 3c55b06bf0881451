//! RabbitMQ and PostgreSQL themselves stop and start again.

use rstest::rstest;
use sea_orm::{Database, EntityTrait, PaginatorTrait};
use serde_json::json;
use testkit::http::post;
use testkit::process::{Running, banklink, metric, until_answers};
use testkit::services::Services;
use testkit::waiting::{eventually, until};
use testkit::{On, SECRET, TestApp, fixtures};
use uuid::Uuid;

use super::until_paused;

/// Every role in one process, on private services.
fn start(services: &Services, database_url: &str) -> Running {
    banklink(&["run"])
        .on_free_ports()
        .env("AMQP_URL", &services.amqp_url)
        .env("DATABASE_URL", database_url)
        .env("BANKLINK_MIGRATE", "true")
        .env("BANKLINK_RETRY_SCHEDULE", "100ms")
        .env("BANKLINK_INGRESS_DEADLINE", "9s")
        .env("LEAN_WEBHOOK_SECRETS", SECRET)
        .start()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_rabbitmq_is_unavailable_webhooks_are_refused_and_afterwards_accepted() {
    let services = Services::up("test-rabbitmq", &["rabbitmq"]).await;
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}?mode=rwc", directory.path().join("banklink.db").display());
    let mut process = start(&services, &database);
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    post(&url, &fixtures::created(Uuid::new_v4())).await.assert_accepted();

    // The memory alarm blocks publishing.
    services.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    let refused = eventually("a refusal", async || {
        let answer = post(&url, &fixtures::seed()).await;
        (answer.status != 200).then_some(answer)
    });
    refused.await.assert_refused(503);
    let readiness = until_answers(&admin, "/readyz/ingress", 503).await;
    assert_eq!(readiness["roles"]["ingress"]["checks"]["broker"], "RabbitMQ has blocked publishing");
    services.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    until_answers(&admin, "/readyz", 200).await;
    until("an accepted webhook", async || post(&url, &fixtures::seed()).await.status == 200).await;

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

/// The webhooks on the queue may be what keeps the alarm up, so the worker must consume them while publishing is blocked.
#[tokio::test(flavor = "multi_thread")]
async fn while_rabbitmq_blocks_publishing_the_worker_empties_the_queue() {
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
    // RabbitMQ blocks a connection when it publishes, so these posts block the worker's publishing connection, too.
    until("a refusal", async || post(&url, &fixtures::seed()).await.status == 503).await;
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

/// A webhook that needs a copy, for a retry or as a dead letter, cannot be settled then; it must not keep the others waiting.
#[tokio::test(flavor = "multi_thread")]
async fn while_rabbitmq_blocks_publishing_a_webhook_that_needs_a_copy_holds_up_no_other() {
    let services = Services::up("test-alarm-copies", &["rabbitmq"]).await;
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let broker = |role: &str| app.role(role).env("AMQP_URL", &services.amqp_url);
    let mut ingress = broker("ingress").start();
    let url = ingress.url().await;
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    let post_both = async || {
        for number in 0..20 {
            let webhook = if number % 4 == 0 { json!({ "type": 7 }) } else { fixtures::created(Uuid::new_v4()) };
            post(&url, &webhook).await.assert_accepted();
        }
    };
    post_both().await;
    services.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    let mut worker = broker("worker").start();
    app.until_links(15).await;
    assert!(app.dead_letters().await.is_empty(), "they need a copy, and none can be published");
    until("a line about the held webhooks", async || worker.log().contains("holding webhooks that need a copy")).await;

    services.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    app.until_dead(5).await;
    assert_eq!(worker.terminate().await, 0, "{}", worker.log());
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

#[rstest]
#[case::plain("test-postgres", "disable")]
#[case::tls("test-postgres-tls", "require")]
#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_unavailable_the_worker_pauses_and_no_attempt_is_spent(
    #[case] name: &str,
    #[case] sslmode: &str,
) {
    let services = Services::up_with_tls(name, &["rabbitmq", "postgres"]).await;
    let mut process = start(&services, &format!("{}?sslmode={sslmode}", services.database_url));
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;

    services.stop("postgres").await;
    until_answers(&admin, "/readyz/worker", 503).await;
    until_answers(&admin, "/readyz/ingress", 200).await;
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        post(&url, &fixtures::created(*entity)).await.assert_accepted();
    }
    until_paused(&admin).await;

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
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}
