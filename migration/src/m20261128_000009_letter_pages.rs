//! Letters by age, in the order in which pages list them: all, and those that are open.
//!
//! Without these indexes, a page sorts all letters that match, or reads all that have ended since.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: [&str; 3] = [
    "DROP INDEX dead_letters_by_age",
    "CREATE INDEX dead_letters_by_age ON dead_letters (last_died_at, message_id)",
    "CREATE INDEX dead_letters_open_by_age ON dead_letters (last_died_at, message_id) WHERE resolved_at IS NULL",
];
const DOWN: [&str; 3] = [
    "DROP INDEX dead_letters_open_by_age",
    "DROP INDEX dead_letters_by_age",
    "CREATE INDEX dead_letters_by_age ON dead_letters (last_died_at)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &DOWN).await
    }
}

async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
