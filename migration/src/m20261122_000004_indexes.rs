//! Indexes for the frequent queries.
//!
//! The relay claims events with `refusals < 1`, oldest first, which is exactly the content and the order of a partial index. With
//! the condition `retry_at IS NULL` instead, PostgreSQL expects very few rows until the table is first analysed, and reads and
//! sorts all of them for each claim.
//!
//! A dead letter changes its state three times during a replay. So the state is in no index, and claiming a letter updates none.
//! Open letters have a partial index, which stays small however many letters have ended.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: [&str; 6] = [
    "DROP INDEX outbox_events_due",
    "CREATE INDEX outbox_events_fresh ON outbox_events (created_at) WHERE refusals < 1",
    "CREATE INDEX outbox_events_put_off ON outbox_events (retry_at) WHERE retry_at IS NOT NULL",
    "DROP INDEX dead_letters_by_state",
    "DROP INDEX dead_letters_by_fingerprint",
    "CREATE INDEX dead_letters_open ON dead_letters (failure_class, fingerprint, last_died_at) WHERE resolved_at IS NULL",
];
const DOWN: [&str; 6] = [
    "DROP INDEX dead_letters_open",
    "CREATE INDEX dead_letters_by_fingerprint ON dead_letters (state, failure_class, fingerprint, last_died_at)",
    "CREATE INDEX dead_letters_by_state ON dead_letters (state, last_died_at)",
    "DROP INDEX outbox_events_put_off",
    "DROP INDEX outbox_events_fresh",
    "CREATE INDEX outbox_events_due ON outbox_events (retry_at, created_at)",
];
/// Half of each page stays free for new versions of its letters: an update within the page updates no index (HOT). Customers are
/// selected by equality only, for which a hash index is smaller than a B-tree of random texts, and cheaper to insert into.
const UP_ON_POSTGRES: [&str; 3] = [
    "ALTER TABLE dead_letters SET (fillfactor = 50)",
    "DROP INDEX bank_links_by_customer",
    "CREATE INDEX bank_links_by_customer ON bank_links USING hash (customer_id)",
];
const DOWN_ON_POSTGRES: [&str; 3] = [
    "DROP INDEX bank_links_by_customer",
    "CREATE INDEX bank_links_by_customer ON bank_links (customer_id)",
    "ALTER TABLE dead_letters RESET (fillfactor)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &UP, &UP_ON_POSTGRES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &DOWN, &DOWN_ON_POSTGRES).await
    }
}

/// Runs `statements`, then `on_postgres` if the database is PostgreSQL.
async fn run(manager: &SchemaManager<'_>, statements: &[&str], on_postgres: &[&str]) -> Result<(), DbErr> {
    let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
    for statement in statements.iter().chain(on_postgres.iter().filter(|_| is_postgres)) {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
