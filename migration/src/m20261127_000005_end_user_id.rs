//! `bank_links.end_user_id`: whom a corporate customer linked the bank for.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let end_user_id = ColumnDef::new("end_user_id").text().null().take();
        manager.alter_table(Table::alter().table("bank_links").add_column(end_user_id).take()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("bank_links").drop_column("end_user_id").take()).await
    }
}
