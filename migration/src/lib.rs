//! The schema of banklink, one file per step. A step that has been released is never changed.

mod m20261122_000001_bank_links;
mod m20261122_000002_outbox_events;
mod m20261122_000003_dead_letters;
mod m20261122_000004_indexes;
mod m20261127_000005_end_user_id;
mod m20261127_000006_deferred_events;
mod m20261127_000007_reconcile;
mod m20261128_000008_replays;
mod m20261128_000009_letter_pages;
mod m20261128_000010_event_leases;
mod m20261128_000011_replay_history;
mod m20261128_000012_ignored_canaries;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};

/// The PostgreSQL advisory lock under which one process at a time migrates. The number is arbitrary ("banklink" in ASCII).
const ADVISORY_LOCK: i64 = 0x6261_6e6b_6c69_6e6b;
/// Limits of one statement on PostgreSQL, which replace those of the session. An index over millions of rows takes minutes. The
/// wait for a table's lock stays short, because other statements queue up behind it.
const STATEMENT_LIMITS: &str = "SET LOCAL statement_timeout = '1h'; SET LOCAL lock_timeout = '5s'";

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_bank_links::Migration),
            Box::new(m20261122_000002_outbox_events::Migration),
            Box::new(m20261122_000003_dead_letters::Migration),
            Box::new(m20261122_000004_indexes::Migration),
            Box::new(m20261127_000005_end_user_id::Migration),
            Box::new(m20261127_000006_deferred_events::Migration),
            Box::new(m20261127_000007_reconcile::Migration),
            Box::new(m20261128_000008_replays::Migration),
            Box::new(m20261128_000009_letter_pages::Migration),
            Box::new(m20261128_000010_event_leases::Migration),
            Box::new(m20261128_000011_replay_history::Migration),
            Box::new(m20261128_000012_ignored_canaries::Migration),
        ]
    }
}

/// One step of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Whether it is applied.
    pub applied: bool,
}

/// Applies every pending step, all of them or none. Concurrent processes take turns. `prelude` is SQL that each transaction begins
/// with; it may be empty.
///
/// Ignores applied steps that it does not know: they are from a later version, after which this one was installed again.
///
/// # Errors
/// When the database is unavailable, another process migrates for more than 20 s, or a step fails.
pub async fn up(database: &DatabaseConnection, prelude: &str) -> Result<(), DbErr> {
    let transaction = lock(database, prelude).await?;
    // `Migrator::up` fails on applied steps that it does not know, even if there is nothing to apply.
    if steps(&transaction).await?.iter().any(|step| !step.applied) {
        Migrator::up(&transaction, None).await?;
    }
    transaction.commit().await
}

/// Reverts every step: drops the tables with all their rows.
///
/// # Errors
/// When the database is unavailable, another process migrates for more than 20 s, or a step fails.
pub async fn down(database: &DatabaseConnection, prelude: &str) -> Result<(), DbErr> {
    let transaction = lock(database, prelude).await?;
    Migrator::down(&transaction, None).await?;
    transaction.commit().await
}

/// Every step, oldest first. It only reads, even in a database that was never migrated.
///
/// # Errors
/// When the database is unavailable.
pub async fn status(database: &DatabaseConnection, prelude: &str) -> Result<Vec<Step>, DbErr> {
    let transaction = begin(database, SqliteTransactionMode::Deferred, prelude).await?;
    let steps = steps(&transaction).await?;
    transaction.commit().await?;
    Ok(steps)
}

async fn steps<'c, C>(connection: &'c C) -> Result<Vec<Step>, DbErr>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let mut applied = Vec::<String>::new();
    if SchemaManager::new(connection).has_table("seaql_migrations").await? {
        let versions = Query::select().column("version").from("seaql_migrations").to_owned();
        for row in connection.query_all(&versions).await? {
            applied.push(row.try_get("", "version")?);
        }
    }
    let steps = Migrator::migrations().into_iter().map(|migration| migration.name().to_owned());
    Ok(steps.map(|name| Step { applied: applied.contains(&name), name }).collect())
}

/// Begins the transaction that all steps run in, once no other process is migrating.
async fn lock(database: &DatabaseConnection, prelude: &str) -> Result<DatabaseTransaction, DbErr> {
    let transaction = begin(database, SqliteTransactionMode::Immediate, prelude).await?;
    if database.get_database_backend() == DbBackend::Postgres {
        let take_turns = format!("SET LOCAL lock_timeout = '20s'; SELECT pg_advisory_xact_lock({ADVISORY_LOCK})");
        transaction.execute_unprepared(&take_turns).await?;
        transaction.execute_unprepared(STATEMENT_LIMITS).await?;
    }
    Ok(transaction)
}

async fn begin(
    database: &DatabaseConnection,
    mode: SqliteTransactionMode,
    prelude: &str,
) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions { sqlite_transaction_mode: Some(mode), ..Default::default() };
    let transaction = database.begin_with_options(options).await?;
    if !prelude.is_empty() {
        transaction.execute_unprepared(prelude).await?;
    }
    Ok(transaction)
}
