//! A competing session writes the same rows as the workers: it causes deadlocks and serialization failures.

use std::time::Duration;

use anyhow::ensure;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::postgres::{MAX_DURATION, MIN_DURATION, query, terminate_other_sessions};
use crate::testbed::Testbed;

/// How long the competing session holds all its locks, while webhooks accumulate behind them.
const ACCUMULATION: Duration = Duration::from_millis(500);
/// How long it leaves the workers to take locks.
const GAP: Duration = Duration::from_millis(150);
/// After this time the statistics of PostgreSQL contain every deadlock.
const STATISTICS_DELAY: Duration = Duration::from_secs(2);

/// The competing session locks rows in the opposite order. PostgreSQL looks for a deadlock once per wait: the workers do so after one
/// second, when the competing session is mostly waiting already, and that session after three. So the usual victim is a worker.
pub(super) async fn cause_deadlocks(testbed: &Testbed) -> anyhow::Result<String> {
    let (database, observer, started) = (testbed.database().await?, testbed.database().await?, Instant::now());
    let (before, mut own) = (count_deadlocks(&observer).await?, 0);
    database.execute_unprepared("SET deadlock_timeout = '3s'").await?;
    while started.elapsed() < MIN_DURATION
        || started.elapsed() < MAX_DURATION && count_deadlocks(&observer).await? <= before + own
    {
        let links = recently_written(&observer).await?;
        own += i64::from(compete_for_locks(&database, &links).await.is_err());
    }
    sleep(STATISTICS_DELAY).await;
    let deadlocks = count_deadlocks(&observer).await? - before;
    ensure!(deadlocks > own, "{deadlocks} deadlocks, and the competing session was the victim of {own}");
    Ok(format!("{deadlocks} deadlocks, the competing session the victim of {own}"))
}

/// Fails if this session is the victim of a deadlock.
async fn compete_for_locks(database: &DatabaseConnection, links: &[Uuid]) -> Result<(), DbErr> {
    let (last, others) = links.split_at(links.len().min(5));
    let transaction = database.begin().await?;
    lock(&transaction, last).await?;
    // Webhooks accumulate behind the locks, so that batches contain many links once these are released. Each batch then takes its
    // locks in order, until it reaches the links that are still locked.
    transaction.execute_unprepared("SAVEPOINT accumulation").await?;
    lock(&transaction, others).await?;
    sleep(ACCUMULATION).await;
    transaction.execute_unprepared("ROLLBACK TO SAVEPOINT accumulation").await?;
    sleep(GAP).await;
    lock(&transaction, others).await?;
    transaction.rollback().await
}

/// Locks bank links in this order.
async fn lock(transaction: &DatabaseTransaction, links: &[Uuid]) -> Result<(), DbErr> {
    for link in links {
        let lock = format!("SELECT 1 FROM bank_links WHERE entity_id = '{link}' FOR UPDATE");
        transaction.execute_unprepared(&lock).await?;
    }
    Ok(())
}

/// The bank links that were written last, in the order opposite to that in which workers lock them.
async fn recently_written(database: &DatabaseConnection) -> Result<Vec<Uuid>, DbErr> {
    let last = "SELECT entity_id FROM (SELECT entity_id FROM bank_links ORDER BY updated_at DESC LIMIT 30) last \
                ORDER BY entity_id DESC";
    query(database, last).await?.iter().map(|row| row.try_get("", "entity_id")).collect()
}

async fn count_deadlocks(database: &DatabaseConnection) -> Result<i64, DbErr> {
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    query(database, deadlocks).await?.first().map_or(Ok(0), |row| row.try_get("", "deadlocks"))
}

/// All transactions are SERIALIZABLE, and the competing session writes the same rows.
pub(super) async fn cause_serialization_failures(testbed: &Testbed) -> anyhow::Result<String> {
    let (database, started, mut own) = (testbed.database().await?, Instant::now(), 0);
    database.execute_unprepared("ALTER DATABASE banklink SET default_transaction_isolation = 'serializable'").await?;
    terminate_other_sessions(&database).await?;
    let competitor = testbed.database().await?;
    let write = "UPDATE bank_links SET updated_at = updated_at WHERE entity_id IN \
                 (SELECT entity_id FROM bank_links ORDER BY updated_at DESC LIMIT 25)";
    let logged = || testbed.fleet.count_log_lines("could not serialize access");
    let before = logged()?;
    while started.elapsed() < MIN_DURATION || logged()? == before && started.elapsed() < MAX_DURATION {
        own += i32::from(competitor.execute_unprepared(write).await.is_err());
        sleep(Duration::from_millis(10)).await;
    }
    database.execute_unprepared("ALTER DATABASE banklink RESET default_transaction_isolation").await?;
    drop(competitor);
    terminate_other_sessions(&database).await?;
    let failures = logged()? - before;
    ensure!(failures > 0, "the competing session failed {own} times, and no process logged a failure");
    Ok(format!("{failures} failures logged, and {own} of the competing session"))
}
