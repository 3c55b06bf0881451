//! `replays`: how many failed canaries an operator has decided to ignore, and who.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            ColumnDef::new("canaries_ignored").integer().not_null().default(0).take(),
            ColumnDef::new("canaries_ignored_by").text().null().take(),
        ];
        // SQLite adds one column at a time.
        for column in columns {
            manager.alter_table(Table::alter().table("replays").add_column(column).take()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ["canaries_ignored_by", "canaries_ignored"] {
            manager.alter_table(Table::alter().table("replays").drop_column(column).take()).await?;
        }
        Ok(())
    }
}
