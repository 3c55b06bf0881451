//! `replay_history`: who started, paused, resumed and cancelled a replay. Replays made before this step have none.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("replay_history")
            .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
            .col(ColumnDef::new("replay_id").big_integer().not_null())
            .col(ColumnDef::new("at").timestamp_with_time_zone().not_null())
            .col(ColumnDef::new("by").text().not_null())
            .col(ColumnDef::new("action").text().not_null())
            .col(ColumnDef::new("detail").text().null())
            .take();
        manager.create_table(table).await?;
        let mut index = Index::create();
        let index = index.name("replay_history_by_replay").table("replay_history").col("replay_id").col("id");
        manager.create_index(index.take()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("replay_history").take()).await
    }
}
