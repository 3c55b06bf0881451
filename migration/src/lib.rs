//! The schema of banklink, one file per step. A step that has been released is never changed.

mod m20261122_000001_bank_links;
mod m20261122_000002_outbox_events;
mod m20261122_000003_dead_letters;
mod m20261122_000004_indexes;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    self, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, TransactionOptions,
    TransactionTrait,
};

/// The lock that processes take turns by when they migrate a PostgreSQL database: an arbitrary number of our own.
const LOCK: i64 = 0x6261_6e6b_6c69_6e6b;
/// How long one statement may take on PostgreSQL, whatever the connection says: an index over millions of rows takes minutes.
/// But a table is not waited for long, because everybody else waits behind whoever waits for a table.
const PATIENCE: &str = "SET LOCAL statement_timeout = '1h'; SET LOCAL lock_timeout = '5s'";

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_bank_links::Migration),
            Box::new(m20261122_000002_outbox_events::Migration),
            Box::new(m20261122_000003_dead_letters::Migration),
            Box::new(m20261122_000004_indexes::Migration),
        ]
    }
}

/// One step of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Applies every step that the database lacks: all of them, or none. Processes that do so at once take turns.
///
/// Steps of a later version are left alone, so that going back to this one is no matter of the schema.
///
/// # Errors
/// When the database is away or refuses a step.
pub async fn up(database: &DatabaseConnection) -> Result<(), DbErr> {
    let transaction = lock(database).await?;
    // SeaORM's own would refuse a database with steps that it does not know, even where it has nothing to do.
    if steps(&transaction).await?.iter().any(|step| !step.applied) {
        Migrator::up(&transaction, None).await?;
    }
    transaction.commit().await
}

/// Takes back every step: the tables and all that is in them are gone.
///
/// # Errors
/// When the database is away or refuses a step.
pub async fn down(database: &DatabaseConnection) -> Result<(), DbErr> {
    let transaction = lock(database).await?;
    Migrator::down(&transaction, None).await?;
    transaction.commit().await
}

/// Every step, oldest first. Only reads: a database that was never migrated stays untouched.
///
/// # Errors
/// When the database is away.
pub async fn status(database: &DatabaseConnection) -> Result<Vec<Step>, DbErr> {
    steps(database).await
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

/// Begins the transaction that all steps run in, once nobody else is migrating.
async fn lock(database: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let immediate = TransactionOptions {
        sqlite_transaction_mode: Some(sea_orm::SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let transaction = database.begin_with_options(immediate).await?;
    if database.get_database_backend() == DbBackend::Postgres {
        let take_turns = format!("SET LOCAL lock_timeout = '20s'; SELECT pg_advisory_xact_lock({LOCK})");
        transaction.execute_unprepared(&take_turns).await?;
        transaction.execute_unprepared(PATIENCE).await?;
    }
    Ok(transaction)
}
