//! Connections that fail as networks do: banklink reports each failure, gives up in time, and connects again.

mod broken;
mod commands;
mod deadlines;
mod handshake;
mod silences;
mod unreadable;

use std::collections::BTreeSet;

use testkit::http::post;
use testkit::process::Running;
use testkit::waiting::until;
use testkit::{TestApp, fixtures};
use uuid::Uuid;

/// Every role in one process, on the given servers.
fn run(app: &TestApp, amqp_url: &str, database_url: &str) -> Running {
    app.all_roles()
        .env("AMQP_URL", amqp_url)
        .env("DATABASE_URL", database_url)
        .env("BANKLINK_INGRESS_DEADLINE", "1s")
        .short_deadlines()
        .env("RUST_LOG", "info,banklink::broker=debug")
        .start()
}

/// Posts webhooks about new entities, and returns the entities of those that were accepted.
pub(crate) async fn post_some(url: &str, webhooks: usize) -> Vec<Uuid> {
    let mut accepted = Vec::new();
    for _ in 0..webhooks {
        let entity = Uuid::new_v4();
        if post(url, &fixtures::created(entity)).await.status == 200 {
            accepted.push(entity);
        }
    }
    accepted
}

/// Waits until every entity has a row, and every event is published.
async fn until_processed(app: &TestApp, entities: &[Uuid]) {
    let all_exist = async || {
        let rows: BTreeSet<Uuid> = app.bank_links().await.iter().map(|row| row.entity_id).collect();
        entities.iter().all(|entity| rows.contains(entity))
    };
    until("a row for every accepted webhook", all_exist).await;
    app.until_outbox_is_empty().await;
}
