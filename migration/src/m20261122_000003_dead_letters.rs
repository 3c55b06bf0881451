//! `dead_letters` and `dead_letter_history`, indexed by state, failure, entity and age.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(letters()).await?;
        manager.create_table(history()).await?;
        for (name, table, columns) in [
            ("dead_letters_by_state", "dead_letters", ["state", "last_died_at"].as_slice()),
            ("dead_letters_by_age", "dead_letters", &["last_died_at"]),
            ("dead_letters_by_fingerprint", "dead_letters", &["state", "failure_class", "fingerprint", "last_died_at"]),
            ("dead_letters_by_entity", "dead_letters", &["entity_id"]),
            ("dead_letter_history_by_letter", "dead_letter_history", &["message_id", "at"]),
        ] {
            let mut index = Index::create();
            index.name(name).table(table);
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("dead_letter_history").take()).await?;
        manager.drop_table(Table::drop().table("dead_letters").take()).await
    }
}

fn letters() -> TableCreateStatement {
    Table::create()
        .table("dead_letters")
        .col(ColumnDef::new("message_id").uuid().not_null().primary_key())
        .col(ColumnDef::new("source").text().not_null())
        .col(ColumnDef::new("body").blob().not_null())
        .col(ColumnDef::new("event_type").text().null())
        .col(ColumnDef::new("entity_id").uuid().null())
        .col(ColumnDef::new("failure_class").text().not_null())
        .col(ColumnDef::new("failure").text().not_null())
        .col(ColumnDef::new("fingerprint").text().not_null())
        .col(ColumnDef::new("attempts").integer().not_null())
        .col(ColumnDef::new("received_at").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("first_died_at").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("last_died_at").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("deaths").integer().not_null())
        .col(ColumnDef::new("state").text().not_null())
        .col(ColumnDef::new("outcome").text().null())
        .col(ColumnDef::new("replays").integer().not_null())
        .col(ColumnDef::new("replayed_at").timestamp_with_time_zone().null())
        .col(ColumnDef::new("replayed_by").text().null())
        .col(ColumnDef::new("resolved_at").timestamp_with_time_zone().null())
        .col(ColumnDef::new("note").text().null())
        .col(ColumnDef::new("wire_id").text().null())
        .col(ColumnDef::new("received_nanos").big_integer().not_null())
        .col(ColumnDef::new("edited_from").text().null())
        .col(ColumnDef::new("traceparent").text().null())
        .col(ColumnDef::new("claimed_until").timestamp_with_time_zone().null())
        .take()
}

fn history() -> TableCreateStatement {
    Table::create()
        .table("dead_letter_history")
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("message_id").uuid().not_null())
        .col(ColumnDef::new("at").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("by").text().null())
        .col(ColumnDef::new("action").text().not_null())
        .col(ColumnDef::new("detail").text().null())
        .take()
}
