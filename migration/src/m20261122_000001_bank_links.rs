//! `bank_links`, indexed by entity and by customer.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut table = Table::create();
        table
            .table("bank_links")
            .col(ColumnDef::new("entity_id").uuid().not_null().primary_key())
            .col(ColumnDef::new("customer_id").text().not_null());
        for name in [
            "app_user_id",
            "bank_identifier",
            "bank_name",
            "bank_logo",
            "bank_main_color",
            "bank_background_color",
            "bank_swift_code",
            "bank_account_type",
            "bank_type",
        ] {
            table.col(ColumnDef::new(name).text().null());
        }
        table
            .col(ColumnDef::new("permissions").json().not_null())
            .col(ColumnDef::new("linked_at").timestamp_with_time_zone().null())
            .col(ColumnDef::new("reconnected_at").timestamp_with_time_zone().null())
            .col(ColumnDef::new("occurred_at").timestamp_with_time_zone().not_null())
            .col(ColumnDef::new("version").big_integer().not_null())
            .col(ColumnDef::new("revision").big_integer().not_null())
            .col(ColumnDef::new("last_event_id").text().null())
            .col(ColumnDef::new("instants").json().not_null())
            .col(ColumnDef::new("created_at").timestamp_with_time_zone().not_null())
            .col(ColumnDef::new("updated_at").timestamp_with_time_zone().not_null());
        manager.create_table(table).await?;
        let by_customer = Index::create().name("bank_links_by_customer").table("bank_links").col("customer_id").take();
        manager.create_index(by_customer).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("bank_links").take()).await
    }
}
