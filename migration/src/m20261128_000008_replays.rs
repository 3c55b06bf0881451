//! `replays`, and `replay_letters`, the letters of each.
//!
//! The letters that have no outcome yet have a partial index, which is small however large the replay is: the next letters, and
//! those that wait for an outcome, are read many times a minute.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const OPEN_LETTERS: &str =
    "CREATE INDEX replay_letters_open ON replay_letters (replay_id, position) WHERE outcome IS NULL";

/// Half of each page stays free for new versions of its rows: a claim then updates no index (HOT).
const FILLFACTOR: &str = "ALTER TABLE replay_letters SET (fillfactor = 50)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(replays()).await?;
        manager.create_table(letters()).await?;
        manager
            .create_index(Index::create().name("replays_by_state").table("replays").col("state").col("id").take())
            .await?;
        manager.get_connection().execute_unprepared(OPEN_LETTERS).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(FILLFACTOR).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("replay_letters").take()).await?;
        manager.drop_table(Table::drop().table("replays").take()).await
    }
}

fn replays() -> TableCreateStatement {
    let mut table = Table::create()
        .table("replays")
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("created_at").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("created_by").text().not_null())
        .col(ColumnDef::new("reason").text().null())
        .col(ColumnDef::new("selection").text().not_null())
        .col(ColumnDef::new("letters").integer().not_null())
        .col(ColumnDef::new("state").text().not_null())
        .col(ColumnDef::new("rate").integer().null())
        .col(ColumnDef::new("canary").integer().null())
        .col(ColumnDef::new("stop_on_failure").double().null())
        .col(ColumnDef::new("failure").text().null())
        .col(ColumnDef::new("canary_ended_at").timestamp_with_time_zone().null())
        .col(ColumnDef::new("changed_at").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("changed_by").text().null())
        .col(ColumnDef::new("ended_at").timestamp_with_time_zone().null())
        .take();
    for count in ["replayed", "skipped", "applied", "stale", "ignored", "dead", "resolved_before", "dead_before"] {
        table.col(ColumnDef::new(count).integer().not_null().default(0));
    }
    table
}

fn letters() -> TableCreateStatement {
    Table::create()
        .table("replay_letters")
        .col(ColumnDef::new("replay_id").big_integer().not_null())
        .col(ColumnDef::new("position").integer().not_null())
        .col(ColumnDef::new("message_id").uuid().not_null())
        .col(ColumnDef::new("replays").integer().not_null())
        .col(ColumnDef::new("deaths").integer().not_null())
        .col(ColumnDef::new("body_bytes").integer().not_null())
        .col(ColumnDef::new("claimed").integer().null())
        .col(ColumnDef::new("outcome").text().null())
        .primary_key(Index::create().col("replay_id").col("position"))
        .take()
}
