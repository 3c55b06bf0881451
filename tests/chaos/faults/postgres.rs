//! PostgreSQL restarted, killed, its sessions ended and cancelled, its tables locked, its disk full; rivals that deadlock with
//! the workers, and transactions that cannot be serialized.

use std::time::Duration;

use anyhow::ensure;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, Statement, TransactionTrait};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Skipped, disk};
use crate::chance::Chance;
use crate::world::World;

const AWAY: Duration = Duration::from_secs(2);
/// How long a rival goes on.
const RIVALRY: Duration = Duration::from_secs(8);
/// How long it goes on until it has met somebody, if need be: nobody may be at work just now.
const LONGEST_RIVALRY: Duration = Duration::from_secs(60);
/// Longer than the `statement_timeout` that the product sets for itself.
const SLOW: Duration = Duration::from_secs(28);
/// Longer than its `lock_timeout`.
const LOCKED: Duration = Duration::from_secs(12);

const OTHERS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

pub(crate) async fn restart(world: &World) -> anyhow::Result<String> {
    world.brokers[0].stop("postgres").await;
    sleep(AWAY).await;
    world.brokers[0].start("postgres").await;
    Ok(String::new())
}

pub(crate) async fn kill(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    world.brokers[0].kill("postgres").await;
    sleep(AWAY * u32::try_from(1 + chance.below(4))?).await;
    world.brokers[0].start("postgres").await;
    Ok(String::new())
}

pub(crate) async fn terminated(world: &World) -> anyhow::Result<String> {
    let (database, began, mut ended) = (world.database().await?, Instant::now(), 0);
    while ended == 0 && began.elapsed() < LONGEST_RIVALRY {
        ended = terminate(&database).await?;
        sleep(Duration::from_millis(15)).await;
    }
    ensure!(ended > 0, "there was no session to end");
    Ok(format!("{ended} sessions"))
}

async fn terminate(database: &DatabaseConnection) -> Result<usize, DbErr> {
    Ok(rows(database, &format!("SELECT pg_terminate_backend(pid) {OTHERS}")).await?.len())
}

/// What a `statement_timeout` does, at every moment of a transaction.
pub(crate) async fn cancelled(world: &World) -> anyhow::Result<String> {
    let (database, began, mut cancelled) = (world.database().await?, Instant::now(), 0);
    let cancel = format!("SELECT pg_cancel_backend(pid) {OTHERS} AND state <> 'idle'");
    while began.elapsed() < RIVALRY || cancelled == 0 && began.elapsed() < LONGEST_RIVALRY {
        cancelled += rows(&database, &cancel).await?.len();
        sleep(Duration::from_millis(15)).await;
    }
    ensure!(cancelled > 0, "there was no statement to cancel");
    Ok(format!("{cancelled} cancels"))
}

/// Whatever writes a bank link takes longer than a statement may take.
pub(crate) async fn statement_timeout(world: &World) -> anyhow::Result<String> {
    let database = world.database().await?;
    let sleep_on = format!(
        "CREATE OR REPLACE FUNCTION chaos_slow() RETURNS trigger LANGUAGE plpgsql \
         AS 'BEGIN PERFORM pg_sleep({}); RETURN NEW; END'",
        SLOW.as_secs()
    );
    database.execute_unprepared(&sleep_on).await?;
    let trigger = "CREATE TRIGGER chaos_slow BEFORE INSERT OR UPDATE ON bank_links \
                   FOR EACH ROW EXECUTE FUNCTION chaos_slow()";
    database.execute_unprepared(trigger).await?;
    sleep(SLOW).await;
    // Waits for those that sleep.
    database.execute_unprepared("DROP TRIGGER chaos_slow ON bank_links").await?;
    Ok(format!("each write takes {SLOW:?}"))
}

/// Somebody holds the tables for longer than anybody waits for a lock.
pub(crate) async fn tables_locked(world: &World) -> anyhow::Result<String> {
    let rival = world.database().await?.begin().await?;
    rival.execute_unprepared("LOCK TABLE bank_links, outbox_events, dead_letters IN ACCESS EXCLUSIVE MODE").await?;
    sleep(LOCKED).await;
    rival.rollback().await?;
    Ok(format!("tables locked for {LOCKED:?}"))
}

pub(crate) async fn disk_full(world: &World) -> anyhow::Result<String> {
    // A directory of its own in it, since a mounted one is never empty and belongs to root.
    let small = match disk::SmallDisk::mount() {
        Ok(small) => small,
        Err(cause) => return Err(Skipped(format!("{cause:#}")).into()),
    };
    let database = world.database().await?;
    let place = small.path();
    for sql in [
        format!("CREATE TABLESPACE chaos_small LOCATION '{}'", place.display()),
        "ALTER TABLE bank_links SET TABLESPACE chaos_small".to_owned(),
        "ALTER TABLE outbox_events SET TABLESPACE chaos_small".to_owned(),
    ] {
        database.execute_unprepared(&sql).await?;
    }
    small.fill()?;
    sleep(RIVALRY).await;
    small.empty()?;
    for sql in [
        "ALTER TABLE bank_links SET TABLESPACE pg_default",
        "ALTER TABLE outbox_events SET TABLESPACE pg_default",
        "DROP TABLESPACE chaos_small",
    ] {
        database.execute_unprepared(sql).await?;
    }
    Ok(format!("full for {RIVALRY:?}"))
}

/// A rival locks rows in the opposite order. PostgreSQL looks for a deadlock once in each wait: the product after a second,
/// when the rival is mostly in its way already, and the rival later; so the product is the usual victim.
pub(crate) async fn deadlocks(world: &World) -> anyhow::Result<String> {
    let (database, bystander, began) = (world.database().await?, world.database().await?, Instant::now());
    let (deadlocks, mut own) = ("SELECT deadlocks AS n FROM pg_stat_database WHERE datname = current_database()", 0);
    let before = number(&bystander, deadlocks).await?;
    database.execute_unprepared("SET deadlock_timeout = '3s'").await?;
    while began.elapsed() < RIVALRY
        || began.elapsed() < LONGEST_RIVALRY && number(&bystander, deadlocks).await? <= before + i64::from(own)
    {
        let links = busiest(&bystander).await?;
        own += i32::from(stand_in_the_way(&database, &links).await.is_err());
    }
    // Sessions count what they met with a delay.
    sleep(Duration::from_secs(2)).await;
    let met = number(&bystander, deadlocks).await? - before;
    ensure!(met > i64::from(own), "of {met} deadlocks the rival itself was the victim of {own}");
    Ok(format!("{met} deadlocks, the rival the victim of {own}"))
}

async fn stand_in_the_way(database: &DatabaseConnection, links: &[Uuid]) -> Result<(), DbErr> {
    let (last, others) = links.split_at(links.len().min(5));
    let rival = database.begin().await?;
    lock(&rival, last).await?;
    // Webhooks pile up behind the locks, so that batches speak of many links once these are let go of; and each batch
    // takes its locks in order, until it comes to the last ones.
    rival.execute_unprepared("SAVEPOINT pile").await?;
    lock(&rival, others).await?;
    sleep(Duration::from_millis(500)).await;
    rival.execute_unprepared("ROLLBACK TO SAVEPOINT pile").await?;
    sleep(Duration::from_millis(150)).await;
    lock(&rival, others).await?;
    rival.rollback().await
}

/// Locks bank links, in that order.
async fn lock(rival: &DatabaseTransaction, links: &[Uuid]) -> Result<(), DbErr> {
    for link in links {
        let lock = format!("SELECT 1 FROM bank_links WHERE entity_id = '{link}' FOR UPDATE");
        rival.execute_unprepared(&lock).await?;
    }
    Ok(())
}

/// Everything runs SERIALIZABLE, and a rival writes the same rows.
pub(crate) async fn serialization_failures(world: &World) -> anyhow::Result<String> {
    let (database, began, mut failed) = (world.database().await?, Instant::now(), 0);
    database.execute_unprepared("ALTER DATABASE banklink SET default_transaction_isolation = 'serializable'").await?;
    terminate(&database).await?;
    let rival = world.database().await?;
    let write = "UPDATE bank_links SET updated_at = updated_at WHERE entity_id IN \
                 (SELECT entity_id FROM bank_links ORDER BY updated_at DESC LIMIT 25)";
    let told = || world.fleet.lines_with("could not serialize access");
    let before = told()?;
    while began.elapsed() < RIVALRY || told()? == before && began.elapsed() < LONGEST_RIVALRY {
        failed += i32::from(rival.execute_unprepared(write).await.is_err());
        sleep(Duration::from_millis(10)).await;
    }
    database.execute_unprepared("ALTER DATABASE banklink RESET default_transaction_isolation").await?;
    drop(rival);
    terminate(&database).await?;
    let met = told()? - before;
    ensure!(met > 0, "the rival itself failed {failed} times, and nobody else did");
    Ok(format!("{met} failures told of, and {failed} of the rival's own"))
}

/// The bank links that were written last, in the order opposite to the product's.
async fn busiest(database: &DatabaseConnection) -> Result<Vec<Uuid>, DbErr> {
    let last = "SELECT entity_id FROM (SELECT entity_id FROM bank_links ORDER BY updated_at DESC LIMIT 30) last \
                ORDER BY entity_id DESC";
    rows(database, last).await?.iter().map(|row| row.try_get("", "entity_id")).collect()
}

async fn rows(database: &DatabaseConnection, sql: &str) -> Result<Vec<sea_orm::QueryResult>, DbErr> {
    database.query_all_raw(Statement::from_string(database.get_database_backend(), sql)).await
}

async fn number(database: &DatabaseConnection, sql: &str) -> anyhow::Result<i64> {
    let rows = rows(database, sql).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.try_get("", "n"))?)
}
