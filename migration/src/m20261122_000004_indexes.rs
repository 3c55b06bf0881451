//! Indexes that fit the hot queries.
//!
//! The relay's claim asks for `refusals < 1`, oldest first, and finds exactly that in an index of its own. Asked for
//! `retry_at IS NULL`, a PostgreSQL that has not analysed the table yet expects so few rows that it reads and sorts them
//! all, for each claim of a few hundred.
//!
//! A dead letter changes its state three times on its way through a replay. So its state is in no index: the letters that
//! are open have one of their own, which stays small however many have ended. Being claimed then touches no index at all.

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
/// Room on the page for the next version of a letter: only one on the same page spares the indexes. And customers are looked
/// for by their whole id: a tree of millions of random texts is large, and slow to grow.
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

/// Runs `statements`, and `on_postgres` where they are understood.
async fn run(manager: &SchemaManager<'_>, statements: &[&str], on_postgres: &[&str]) -> Result<(), DbErr> {
    let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
    for statement in statements.iter().chain(on_postgres.iter().filter(|_| is_postgres)) {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
