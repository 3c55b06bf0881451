//! The database fails everybody for longer than the retry schedule and RabbitMQ's consumer timeout together: nothing is spent on it.

use std::time::Duration;

use sea_orm::Database;
use tokio::time::Instant;

use crate::SECRET;
use crate::outage::Outage;
use crate::process::{banklink, metric, until_answers};
use crate::services::Services;
use crate::waiting::eventually;
use crate::watch::{post, queues, rows};

/// Webhooks posted before the outage, at its beginning, and again in each minute of it.
const POSTS: usize = 500;
const POSTS_A_MINUTE: usize = 20;

pub(crate) async fn run(outage: Outage, length: Duration) -> bool {
    let consumer_timeout = vec![("BANKLINK_RABBITMQ_EXTRA_CONF", "consumer_timeout = 60000".to_owned())];
    let services = Services::up_with(&format!("soak-{outage:?}"), &["rabbitmq", "postgres"], consumer_timeout).await;
    // At a delivery limit of one, a message whose second delivery count is spent is dead.
    let mut process = banklink(&["run", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("AMQP_URL", &services.amqp_url)
        .env("DATABASE_URL", &services.database_url)
        .env("BANKLINK_MIGRATE", "true")
        .env("BANKLINK_RETRY_SCHEDULE", "1s,1s")
        .env("BANKLINK_DELIVERY_LIMIT", "1")
        .env("LEAN_WEBHOOK_SECRETS", SECRET)
        .start();
    let (admin, url, client) = (process.admin().await, process.url().await, testkit::http::client());
    until_answers(&admin, "/readyz", 200).await;
    let mut accepted = 0;
    for _ in 0..POSTS {
        accepted += u64::from(post(&client, &url).await);
    }
    let applied = r#"banklink_worker_deliveries_total{outcome="applied"}"#;
    eventually("the first rows", async || (metric(&admin, applied).await >= Some(500.0)).then_some(())).await;

    outage.begin(&services).await;
    let began = Instant::now();
    for _ in 0..POSTS {
        accepted += u64::from(post(&client, &url).await);
    }
    let paused = async || metric(&admin, "banklink_worker_paused").await;
    eventually("a worker that meets it", async || (paused().await == Some(1.0)).then_some(())).await;
    println!("minute  paused  ready  handed out  dead  accepted");
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    while began.elapsed() < length {
        minute.tick().await;
        for _ in 0..POSTS_A_MINUTE {
            accepted += u64::from(post(&client, &url).await);
        }
        let queues = queues(&services).await;
        let (ready, handed_out) = queues.get("banklink.webhooks").copied().unwrap_or_default();
        let (dead, _) = queues.get("banklink.webhooks.dead").copied().unwrap_or_default();
        let paused = paused().await.unwrap_or(-1.0);
        let minutes = began.elapsed().as_secs() / 60;
        println!("{minutes:>6}  {paused:>6}  {ready:>5}  {handed_out:>10}  {dead:>4}  {accepted:>8}");
    }
    outage.end(&services).await;
    let back = Instant::now();
    let database = Database::connect(&services.database_url).await.expect("the database is back");
    let all_there = async || (rows(&database, "bank_links").await == accepted).then_some(());
    eventually("a row for every accepted webhook", all_there).await;
    println!("back after {:?}; every row {:?} later", began.elapsed(), back.elapsed());

    let mut passed = true;
    for outcome in ["applied", "stale", "retried", "dead"] {
        let value = metric(&admin, &format!("banklink_worker_deliveries_total{{outcome=\"{outcome}\"}}")).await;
        println!("{outcome}: {}", value.unwrap_or(-1.0));
        passed &= matches!(outcome, "applied" | "stale") || value == Some(0.0);
    }
    let letters = rows(&database, "dead_letters").await;
    println!("accepted {accepted}, dead letters {letters}");
    passed && letters == 0 && process.terminate().await == 0
}
