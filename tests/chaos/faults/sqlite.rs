//! Locks the SQLite database from another process: this one.

use std::time::Duration;

use sea_orm::ConnectionTrait;
use tokio::time::sleep;

use crate::testbed::Testbed;

const LOCKED: Duration = Duration::from_secs(10);

pub(super) async fn lock(testbed: &Testbed) -> anyhow::Result<String> {
    let database = testbed.database().await?;
    database.execute_unprepared("PRAGMA busy_timeout = 20000").await?;
    database.execute_unprepared("BEGIN EXCLUSIVE").await?;
    sleep(LOCKED).await;
    database.execute_unprepared("ROLLBACK").await?;
    Ok(format!("for {LOCKED:?}"))
}
