//! `outbox_events.leased_until`: until when an event is published by the process that wrote it, and claimed by no other.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let leased_until = ColumnDef::new("leased_until").timestamp_with_time_zone().null().take();
        manager.alter_table(Table::alter().table("outbox_events").add_column(leased_until).take()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("outbox_events").drop_column("leased_until").take()).await
    }
}
