//! The system under test: how its processes are started, how a webhook is posted to it, and what is measured in it.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use testkit::process::{Invocation, banklink};
use testkit::services::Services;
use testkit::{SECRET, fixtures};
use uuid::Uuid;

/// A process with these roles; no role means all.
pub(crate) fn run_command(services: &Services, roles: &[&str]) -> Invocation {
    banklink(&[&["run"], roles].concat())
        .on_free_ports()
        .env("AMQP_URL", &services.amqp_url)
        .env("DATABASE_URL", &services.database_url)
        .env("BANKLINK_MIGRATE", "true")
        .env("LEAN_WEBHOOK_SECRETS", SECRET)
}

/// The messages on a queue.
#[derive(Clone, Copy, Default)]
pub(crate) struct QueueCounts {
    pub(crate) ready: u64,
    pub(crate) unacknowledged: u64,
}

/// Counts the messages on every queue, by its name.
pub(crate) async fn queue_counts(services: &Services) -> BTreeMap<String, QueueCounts> {
    let listed = services.ctl(&["-q", "list_queues", "name", "messages_ready", "messages_unacknowledged"]).await;
    let parse = |line: &str| {
        let mut columns = line.split_whitespace();
        let (name, ready, unacknowledged) = (columns.next()?, columns.next()?, columns.next()?);
        let counts = QueueCounts { ready: ready.parse().ok()?, unacknowledged: unacknowledged.parse().ok()? };
        Some((name.to_owned(), counts))
    };
    listed.lines().filter_map(parse).collect()
}

/// Counts the rows of a table.
pub(crate) async fn count_rows(database: &DatabaseConnection, table: &str) -> u64 {
    let count = Statement::from_string(DbBackend::Postgres, format!("SELECT count(*) AS rows FROM {table}"));
    let row = database.query_one_raw(count).await.expect("a count").expect("one row");
    row.try_get::<i64>("", "rows").expect("a number").unsigned_abs()
}

/// Posts a webhook that creates a new bank link. Returns whether it was accepted.
pub(crate) async fn post(client: &reqwest::Client, url: &str) -> bool {
    let body = fixtures::created(Uuid::new_v4()).to_string();
    let request = client.post(url).header("lean-signature", fixtures::signature(SECRET, body.as_bytes()));
    let request = request.timeout(Duration::from_secs(10)).body(body);
    request.send().await.is_ok_and(|response| response.status() == 200)
}
