//! `reconcile_runs`, what reconciling with Lean has found, and `leases`, which let one process at a time do a piece of work.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(runs()).await?;
        // Both databases search such an index from either end: the last runs, and the latest complete instant.
        for columns in [&["started_at"][..], &["source", "complete_until"]] {
            let name = format!("reconcile_runs_by_{}", columns.last().unwrap_or(&"id"));
            let mut index = Index::create().name(name).table("reconcile_runs").take();
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        manager.create_table(leases()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("leases").take()).await?;
        manager.drop_table(Table::drop().table("reconcile_runs").take()).await
    }
}

fn runs() -> TableCreateStatement {
    Table::create()
        .table("reconcile_runs")
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("source").text().not_null())
        .col(ColumnDef::new("started_at").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("ended_at").timestamp_with_time_zone().null())
        .col(ColumnDef::new("from").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("to").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("known").big_integer().not_null().default(0))
        .col(ColumnDef::new("sent").big_integer().not_null().default(0))
        .col(ColumnDef::new("dead").big_integer().not_null().default(0))
        .col(ColumnDef::new("ignored").big_integer().not_null().default(0))
        .col(ColumnDef::new("complete_until").timestamp_with_time_zone().null())
        .col(ColumnDef::new("failure").text().null())
        .take()
}

fn leases() -> TableCreateStatement {
    Table::create()
        .table("leases")
        .col(ColumnDef::new("name").text().not_null().primary_key())
        .col(ColumnDef::new("holder").text().not_null())
        .col(ColumnDef::new("expires_at").timestamp_with_time_zone().not_null())
        .take()
}
