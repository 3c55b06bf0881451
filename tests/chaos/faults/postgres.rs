//! PostgreSQL is restarted or killed, its sessions are terminated, its statements cancelled or slowed down, its tables locked.

use std::time::Duration;

use anyhow::ensure;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, QueryResult, Statement, TransactionTrait};
use tokio::time::{Instant, sleep};

use crate::rng::Rng;
use crate::testbed::Testbed;

/// How long a fault that works by disturbing other sessions lasts.
pub(super) const MIN_DURATION: Duration = Duration::from_secs(8);
/// How long such a fault lasts if it has not disturbed any session before.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(60);
const DOWN: Duration = Duration::from_secs(2);
/// How long a write takes: longer than the `statement_timeout` of the program's sessions.
const SLOW_WRITE: Duration = Duration::from_secs(28);
/// Longer than the `lock_timeout` of the program's sessions.
const LOCKED: Duration = Duration::from_secs(12);
const REPEAT_INTERVAL: Duration = Duration::from_millis(15);

const OTHER_SESSIONS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

pub(super) async fn restart(testbed: &Testbed) -> anyhow::Result<String> {
    let services = &testbed.services[0];
    services.stop("postgres").await;
    sleep(DOWN).await;
    services.start("postgres").await;
    Ok(String::new())
}

pub(super) async fn kill(testbed: &Testbed, rng: &mut Rng) -> anyhow::Result<String> {
    let services = &testbed.services[0];
    services.kill("postgres").await;
    sleep(DOWN * u32::try_from(1 + rng.below(4))?).await;
    services.start("postgres").await;
    Ok(String::new())
}

pub(super) async fn terminate_sessions(testbed: &Testbed) -> anyhow::Result<String> {
    let (database, started, mut terminated) = (testbed.database().await?, Instant::now(), 0);
    while terminated == 0 && started.elapsed() < MAX_DURATION {
        terminated = terminate_other_sessions(&database).await?;
        sleep(REPEAT_INTERVAL).await;
    }
    ensure!(terminated > 0, "there was no session to terminate");
    Ok(format!("{terminated} sessions"))
}

/// Cancels statements at any moment of a transaction, as a `statement_timeout` does.
pub(super) async fn cancel_statements(testbed: &Testbed) -> anyhow::Result<String> {
    let (database, started, mut cancelled) = (testbed.database().await?, Instant::now(), 0);
    let cancel = format!("SELECT pg_cancel_backend(pid) {OTHER_SESSIONS} AND state <> 'idle'");
    while started.elapsed() < MIN_DURATION || cancelled == 0 && started.elapsed() < MAX_DURATION {
        cancelled += query(&database, &cancel).await?.len();
        sleep(REPEAT_INTERVAL).await;
    }
    ensure!(cancelled > 0, "there was no statement to cancel");
    Ok(format!("{cancelled} cancels"))
}

/// Makes each write of a bank link take longer than the `statement_timeout`.
pub(super) async fn slow_writes_down(testbed: &Testbed) -> anyhow::Result<String> {
    let database = testbed.database().await?;
    let function = format!(
        "CREATE OR REPLACE FUNCTION chaos_slow() RETURNS trigger LANGUAGE plpgsql \
         AS 'BEGIN PERFORM pg_sleep({}); RETURN NEW; END'",
        SLOW_WRITE.as_secs()
    );
    database.execute_unprepared(&function).await?;
    let trigger = "CREATE TRIGGER chaos_slow BEFORE INSERT OR UPDATE ON bank_links \
                   FOR EACH ROW EXECUTE FUNCTION chaos_slow()";
    database.execute_unprepared(trigger).await?;
    sleep(SLOW_WRITE).await;
    // Waits for the writes that are still asleep.
    database.execute_unprepared("DROP TRIGGER chaos_slow ON bank_links").await?;
    Ok(format!("each write takes {SLOW_WRITE:?}"))
}

pub(super) async fn lock_tables(testbed: &Testbed) -> anyhow::Result<String> {
    let transaction = testbed.database().await?.begin().await?;
    let lock = "LOCK TABLE bank_links, outbox_events, dead_letters IN ACCESS EXCLUSIVE MODE";
    transaction.execute_unprepared(lock).await?;
    sleep(LOCKED).await;
    transaction.rollback().await?;
    Ok(format!("tables locked for {LOCKED:?}"))
}

/// Returns how many sessions were terminated.
pub(super) async fn terminate_other_sessions(database: &DatabaseConnection) -> Result<usize, DbErr> {
    Ok(query(database, &format!("SELECT pg_terminate_backend(pid) {OTHER_SESSIONS}")).await?.len())
}

pub(super) async fn query(database: &DatabaseConnection, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
    database.query_all_raw(Statement::from_string(database.get_database_backend(), sql)).await
}
