//! SQLite's file locked by another process: this one.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::world::World;

const LOCKED: Duration = Duration::from_secs(10);

pub(crate) async fn locked(world: &World) -> anyhow::Result<String> {
    let rival = world.database().await?;
    rival.execute_unprepared("PRAGMA busy_timeout = 20000").await?;
    rival.execute_unprepared("BEGIN EXCLUSIVE").await?;
    tokio::time::sleep(LOCKED).await;
    rival.execute_unprepared("ROLLBACK").await?;
    Ok(format!("for {LOCKED:?}"))
}
