//! Deferred events are selected by type: of a type that a subscriber refuses, only a sample is published again.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [
            "DROP INDEX outbox_events_put_off",
            "CREATE INDEX outbox_events_deferred ON outbox_events (event_type, retry_at) WHERE retry_at IS NOT NULL",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [
            "DROP INDEX outbox_events_deferred",
            "CREATE INDEX outbox_events_put_off ON outbox_events (retry_at) WHERE retry_at IS NOT NULL",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
