//! `outbox_events`, indexed by the order in which they are due: never refused ones first, each group by age.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("outbox_events")
            .col(ColumnDef::new("id").uuid().not_null().primary_key())
            .col(ColumnDef::new("event_type").text().not_null())
            .col(ColumnDef::new("routing_key").text().not_null())
            .col(ColumnDef::new("entity_id").uuid().not_null())
            .col(ColumnDef::new("payload").json().not_null())
            .col(ColumnDef::new("traceparent").text().null())
            .col(ColumnDef::new("received_at").timestamp_with_time_zone().not_null())
            .col(ColumnDef::new("created_at").timestamp_with_time_zone().not_null())
            .col(ColumnDef::new("refusals").integer().not_null().default(0))
            .col(ColumnDef::new("retry_at").timestamp_with_time_zone().null())
            .take();
        manager.create_table(table).await?;
        let due =
            Index::create().name("outbox_events_due").table("outbox_events").col("retry_at").col("created_at").take();
        manager.create_index(due).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("outbox_events").take()).await
    }
}
