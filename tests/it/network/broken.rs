//! Open connections that fall silent, stall, are slow, or are reset.

use std::time::Duration;

use futures_util::future::join_all;
use rstest::rstest;
use testkit::process::{metric, until_answers};
use testkit::proxy::{Mode, Proxy};
use testkit::services::Services;
use testkit::waiting::until;
use testkit::{On, TestApp, amqp_url, fixtures, http};

use super::{post_some, run, until_processed};

/// The size of the worker's pool of connections to PostgreSQL.
const POOL_SIZE: usize = 8;

async fn app_on(services: &Services, sslmode: &str) -> TestApp {
    let url = format!("{}?sslmode={sslmode}", services.database_url);
    TestApp::builder(On::Postgres).postgres(url).ingress_only().build().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_broker_connection_is_detected_by_the_heartbeat_and_replaced() {
    let app = TestApp::builder(On::Postgres).workers(0).relays(0).build().await;
    let broker = Proxy::before(&amqp_url()).await;
    let mut process = run(&app, &format!("{}?heartbeat=2", broker.url), &app.database_url());
    let mut slow_heartbeat = app.role("relay").env("AMQP_URL", format!("{}?heartbeat=60", broker.url)).start();
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    until_answers(&slow_heartbeat.admin().await, "/readyz", 200).await;
    let mut accepted = post_some(&url, 50).await;
    broker.set(Mode::Silent);
    // Refused by the ingress's own deadline, before the heartbeat shows that the connection is half open.
    http::post(&url, &fixtures::seed()).await.assert_refused(503);
    until_answers(&admin, "/readyz/ingress", 503).await;
    for connection in ["publish", "consume", "record"] {
        let lost = format!(r#""message":"lost the connection to RabbitMQ","connection":"{connection}""#);
        process.until_log(&lost).await;
    }
    // It is the agreed heartbeat that ends a connection: one with a longer interval is still open.
    assert!(!slow_heartbeat.log().contains("lost the connection"), "{}", slow_heartbeat.log());
    slow_heartbeat.kill().await;
    for role in ["ingress", "worker", "relay"] {
        until_answers(&admin, &format!("/readyz/{role}"), 503).await;
    }
    broker.set(Mode::Forward);
    until_answers(&admin, "/readyz", 200).await;
    accepted.extend(post_some(&url, 10).await);
    assert!(accepted.len() >= 60, "{}", accepted.len());
    until_processed(&app, &accepted).await;
    for _ in &accepted {
        app.next_event().await;
    }
    assert!(app.dead_letters().await.is_empty());
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    // An event whose confirm was lost with the connection may be there twice.
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_that_timed_out_while_rabbitmq_was_stuck_do_not_block_later_ones() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let broker = Proxy::before(&amqp_url()).await;
    let mut process = run(&app, &broker.url, &app.database_url());
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    broker.set(Mode::Held);
    // The first fifty time out on a channel, which is thrown away for that; the others find no channel.
    for _ in 0..2 {
        for refused in join_all((0..50).map(async |_| http::post(&url, &fixtures::seed()).await)).await {
            refused.assert_refused(503);
        }
    }
    broker.set(Mode::Forward);
    until("an accepted webhook", async || http::post(&url, &fixtures::seed()).await.status == 200).await;
    let thrown_away = process.log().matches("discarded the publishing channel").count();
    assert!((1..=3).contains(&thrown_away), "{thrown_away}: {}", process.log());
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    // What was refused may arrive after all, and after the worker has ended.
    app.finish_with_leftovers().await;
}

#[rstest]
#[case::plain("test-torn", "disable")]
#[case::tls("test-torn-tls", "require")]
#[tokio::test(flavor = "multi_thread")]
async fn slow_connections_and_resets_within_a_frame_lose_nothing(#[case] name: &str, #[case] sslmode: &str) {
    let services = Services::up_with_tls(name, &["postgres"]).await;
    let app = app_on(&services, sslmode).await;
    let (broker, database) = (Proxy::before(&amqp_url()).await, Proxy::before(&app.database_url()).await);
    let mut process = run(&app, &broker.url, &database.url);
    let (admin, url) = (process.admin().await, process.url().await);
    let mut accepted = Vec::new();
    let late = Mode::Delay(Duration::from_millis(50));
    for (proxy, fault) in [(&broker, Mode::Torn), (&database, late), (&broker, late), (&database, Mode::Torn)] {
        until_answers(&admin, "/readyz", 200).await;
        accepted.extend(post_some(&url, 20).await);
        proxy.set(fault);
        accepted.extend(post_some(&url, 20).await);
        proxy.set(Mode::Forward);
    }
    assert!(accepted.len() >= 80, "{}", accepted.len());
    until_processed(&app, &accepted).await;
    until_answers(&admin, "/readyz", 200).await;
    assert!(app.dead_letters().await.is_empty());
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}

#[rstest]
#[case::plain("test-half-open", "disable")]
#[case::tls("test-half-open-tls", "require")]
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_database_pauses_the_worker_and_does_not_use_up_the_pool(
    #[case] name: &str,
    #[case] sslmode: &str,
) {
    let services = Services::up_with_tls(name, &["postgres"]).await;
    let app = app_on(&services, sslmode).await;
    let database = Proxy::before(&app.database_url()).await;
    let mut process = run(&app, &amqp_url(), &database.url);
    let (admin, url) = (process.admin().await, process.url().await);
    // In the second round new connections open, and fall silent during or before the first statement of a batch: if the
    // pool kept them, it would run out of places.
    for (silence, new_connections) in [(Mode::Silent, 0), (Mode::SilentAfter(6), POOL_SIZE)] {
        until_answers(&admin, "/readyz", 200).await;
        let rows = post_some(&url, 20).await;
        until_processed(&app, &rows).await;
        let before = database.accepted();
        database.set(silence);
        until_answers(&admin, "/readyz/worker", 503).await;
        until_answers(&admin, "/readyz/ingress", 200).await;
        let waiting = post_some(&url, 5).await;
        assert_eq!(waiting.len(), 5, "the ingress needs no database");
        until("a pause", async || metric(&admin, "banklink_worker_paused").await == Some(1.0)).await;
        let more_connections = async || {
            let _ = http::client().get(format!("http://{admin}/readyz")).send().await;
            database.accepted() > before + new_connections
        };
        until("more new connections than the pool has places", more_connections).await;
        database.set(Mode::Forward);
        until_processed(&app, &waiting).await;
    }
    for outcome in ["retried", "dead"] {
        let name = format!("banklink_worker_deliveries_total{{outcome=\"{outcome}\"}}");
        assert_eq!(metric(&admin, &name).await, Some(0.0), "{name}");
    }
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}
