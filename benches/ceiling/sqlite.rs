//! The ceiling's SQL on SQLite: one statement for all rows of a batch.

use std::str::FromStr;

use anyhow::Result;
use chrono::{TimeDelta, Utc};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use super::event::{LINKED, Linked};
use super::outbox::{BATCH_SIZE, EventPublisher, OutboxEvent};

const COLUMNS: &str = "entity_id, customer_id, app_user_id, bank_identifier, bank_name, bank_logo, bank_main_color, \
    bank_background_color, bank_swift_code, bank_account_type, bank_type, permissions, linked_at, reconnected_at, \
    occurred_at, version, revision, last_event_id, instants, created_at, updated_at";
/// `linked_at` and `occurred_at` are the same time, and so are `created_at` and `updated_at`.
const ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, 1, ?, '{}', ?, ?)";
const CONFLICT: &str = "ON CONFLICT (entity_id) DO UPDATE SET customer_id = excluded.customer_id, \
    app_user_id = excluded.app_user_id, bank_identifier = excluded.bank_identifier, bank_name = excluded.bank_name, \
    bank_logo = excluded.bank_logo, bank_main_color = excluded.bank_main_color, \
    bank_background_color = excluded.bank_background_color, bank_swift_code = excluded.bank_swift_code, \
    bank_account_type = excluded.bank_account_type, bank_type = excluded.bank_type, permissions = excluded.permissions, \
    occurred_at = excluded.occurred_at, version = excluded.version, revision = bank_links.revision + 1, \
    last_event_id = excluded.last_event_id, updated_at = excluded.updated_at WHERE bank_links.version < excluded.version";
const CLAIM: &str = "\
    SELECT id, routing_key, payload FROM outbox_events WHERE refusals < 1 ORDER BY created_at LIMIT ?";

/// Connects with banklink's settings: a commit waits for the disk, and cache and checkpoint interval have the same
/// size.
pub(super) async fn connect(url: &str) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::from_str(url)?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-32768")
        .pragma("wal_autocheckpoint", "8192");
    Ok(options.disable_statement_logging().connect().await?)
}

/// Writes rows and events in one transaction.
pub(super) async fn write(connection: &mut SqliteConnection, links: &[Linked]) -> Result<()> {
    let now = Utc::now();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let sql = format!("INSERT INTO bank_links ({COLUMNS}) VALUES {} {CONFLICT}", repeat(ROW, links.len()));
    let mut upsert = sqlx::query(AssertSqlSafe(sql));
    for link in links {
        upsert = upsert.bind(link.entity_id).bind(&link.customer_id).bind(&link.app_user_id);
        for field in &link.bank {
            upsert = upsert.bind(field);
        }
        upsert = upsert.bind(&link.permissions).bind(link.occurred_at).bind(link.occurred_at).bind(link.version);
        upsert = upsert.bind(&link.last_event_id).bind(now).bind(now);
    }
    upsert.execute(&mut *transaction).await?;
    let sql = format!(
        "INSERT INTO outbox_events (id, event_type, routing_key, entity_id, payload, received_at, created_at) VALUES {} \
         ON CONFLICT (id) DO NOTHING",
        repeat("(?, ?, ?, ?, ?, ?, ?)", links.len())
    );
    let mut append = sqlx::query(AssertSqlSafe(sql));
    for (link, after) in links.iter().zip(0..) {
        let created_at = now + TimeDelta::microseconds(after);
        append = append.bind(link.event_id).bind(LINKED).bind(LINKED).bind(link.entity_id).bind(&link.event);
        append = append.bind(link.received_at).bind(created_at);
    }
    append.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Reads, publishes and deletes a batch of events, and returns how many. No lock is held while it waits for RabbitMQ.
pub(super) async fn relay(connection: &mut SqliteConnection, publisher: &EventPublisher) -> Result<usize> {
    let claimed: Vec<OutboxEvent> = sqlx::query_as(CLAIM).bind(BATCH_SIZE as i64).fetch_all(&mut *connection).await?;
    publisher.publish(&claimed).await?;
    let sql = format!("DELETE FROM outbox_events WHERE id IN ({})", repeat("?", claimed.len()));
    let mut delete = sqlx::query(AssertSqlSafe(sql));
    for (id, ..) in &claimed {
        delete = delete.bind(*id);
    }
    delete.execute(connection).await?;
    Ok(claimed.len())
}

fn repeat(text: &str, times: usize) -> String {
    vec![text; times].join(", ")
}
