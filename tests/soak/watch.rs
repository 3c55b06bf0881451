//! What the scenarios look at: queues, rows, and the posts that they send.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use uuid::Uuid;

use crate::SECRET;
use crate::fixtures;
use crate::services::Services;

/// Messages on each queue: ready, and handed out.
pub(crate) async fn queues(services: &Services) -> BTreeMap<String, (u64, u64)> {
    let listed = services.ctl(&["-q", "list_queues", "name", "messages_ready", "messages_unacknowledged"]).await;
    let queue = |line: &str| {
        let mut columns = line.split_whitespace();
        let (name, ready, handed_out) = (columns.next()?, columns.next()?, columns.next()?);
        Some((name.to_owned(), (ready.parse().ok()?, handed_out.parse().ok()?)))
    };
    listed.lines().filter_map(queue).collect()
}

/// How many rows a table has.
pub(crate) async fn rows(database: &DatabaseConnection, table: &str) -> u64 {
    let count = Statement::from_string(DbBackend::Postgres, format!("SELECT count(*) AS rows FROM {table}"));
    let row = database.query_one_raw(count).await.expect("a count").expect("a count");
    row.try_get::<i64>("", "rows").expect("a count").unsigned_abs()
}

/// Posts a webhook about a new bank link; whether it was accepted.
pub(crate) async fn post(client: &reqwest::Client, url: &str) -> bool {
    let body = fixtures::created(Uuid::new_v4()).to_string();
    let request = client.post(url).header("lean-signature", fixtures::signature(SECRET, body.as_bytes()));
    let request = request.timeout(Duration::from_secs(10)).body(body);
    request.send().await.is_ok_and(|response| response.status() == 200)
}
