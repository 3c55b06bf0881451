//! The database fails for longer than the retry schedule and RabbitMQ's consumer timeout together. No webhook may be lost, use an
//! attempt, or die.

use std::time::Duration;

use sea_orm::Database;
use testkit::http;
use testkit::process::{metric, until_answers};
use testkit::services::Services;
use testkit::waiting::until;
use tokio::time::{Instant, interval};

use crate::outage::Outage;
use crate::system::{count_rows, post, queue_counts, run_command};

/// Webhooks posted before the outage, and again at its beginning.
const POSTS: u64 = 500;
/// Webhooks posted in each minute of the outage.
const POSTS_PER_MINUTE: u64 = 20;

/// Returns whether the scenario has passed.
pub(crate) async fn run(outage: Outage, length: Duration) -> bool {
    let consumer_timeout = vec![("BANKLINK_RABBITMQ_EXTRA_CONF", "consumer_timeout = 60000".to_owned())];
    let services = Services::up_with(&format!("soak-{outage:?}"), &["rabbitmq", "postgres"], consumer_timeout).await;
    // With a delivery limit of one, a message that is returned to the queue twice is dead.
    let mut process =
        run_command(&services, &[]).env("BANKLINK_RETRY_SCHEDULE", "1s,1s").env("BANKLINK_DELIVERY_LIMIT", "1").start();
    let (admin, url, client) = (process.admin().await, process.url().await, http::client());
    let post_many = async |count: u64| {
        let mut accepted = 0;
        for _ in 0..count {
            accepted += u64::from(post(&client, &url).await);
        }
        accepted
    };
    until_answers(&admin, "/readyz", 200).await;
    let mut accepted = post_many(POSTS).await;
    let applied = r#"banklink_worker_deliveries_total{outcome="applied"}"#;
    until("the rows of the first webhooks", async || metric(&admin, applied).await >= Some(POSTS as f64)).await;

    outage.begin(&services).await;
    let began = Instant::now();
    accepted += post_many(POSTS).await;
    let paused = async || metric(&admin, "banklink_worker_paused").await;
    until("a paused worker", async || paused().await == Some(1.0)).await;
    println!("minute  paused  ready  unacked  dead  accepted");
    let mut minute = interval(Duration::from_secs(60));
    while began.elapsed() < length {
        minute.tick().await;
        accepted += post_many(POSTS_PER_MINUTE).await;
        let queues = queue_counts(&services).await;
        let work = queues.get("banklink.webhooks").copied().unwrap_or_default();
        let dead = queues.get("banklink.webhooks.dead").copied().unwrap_or_default();
        let paused = paused().await.unwrap_or(-1.0);
        let minutes = began.elapsed().as_secs() / 60;
        println!(
            "{minutes:>6}  {paused:>6}  {:>5}  {:>7}  {:>4}  {accepted:>8}",
            work.ready, work.unacknowledged, dead.ready
        );
    }
    outage.end(&services).await;
    let ended = Instant::now();
    let database = Database::connect(&services.database_url).await.expect("a database after the outage");
    until("a row for every accepted webhook", async || count_rows(&database, "bank_links").await == accepted).await;
    println!("outage of {:?}; all rows were there {:?} after its end", ended - began, ended.elapsed());

    let mut passed = true;
    for outcome in ["applied", "stale", "retried", "dead"] {
        let value = metric(&admin, &format!("banklink_worker_deliveries_total{{outcome=\"{outcome}\"}}")).await;
        println!("{outcome}: {}", value.unwrap_or(-1.0));
        passed &= matches!(outcome, "applied" | "stale") || value == Some(0.0);
    }
    let letters = count_rows(&database, "dead_letters").await;
    println!("accepted {accepted}, dead letters {letters}");
    passed && letters == 0 && process.terminate().await == 0
}
