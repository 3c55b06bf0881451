//! Indexes that fit the hot queries.
//!
//! The relay's claim asks for `refusals < 1`, oldest first, and finds exactly that in an index of its own. Asked for
//! `retry_at IS NULL`, a PostgreSQL that has not analysed the table yet expects so few rows that it reads and sorts them
//! all, for each claim of a few hundred. And a dead letter changes its state three times on its way through a replay: one
//! index fewer to follow.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = [
            "DROP INDEX dead_letters_by_state",
            "DROP INDEX outbox_events_due",
            "CREATE INDEX outbox_events_fresh ON outbox_events (created_at) WHERE refusals < 1",
            "CREATE INDEX outbox_events_put_off ON outbox_events (retry_at) WHERE retry_at IS NOT NULL",
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        if manager.get_database_backend() == DbBackend::Postgres {
            // Room on the page for the next version of a row: one that changes no indexed column then costs the indexes nothing.
            let roomy = "ALTER TABLE dead_letters SET (fillfactor = 60)";
            manager.get_connection().execute_unprepared(roomy).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared("ALTER TABLE dead_letters RESET (fillfactor)").await?;
        }
        let statements = [
            "DROP INDEX outbox_events_put_off",
            "DROP INDEX outbox_events_fresh",
            "CREATE INDEX outbox_events_due ON outbox_events (retry_at, created_at)",
            "CREATE INDEX dead_letters_by_state ON dead_letters (state, last_died_at)",
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
