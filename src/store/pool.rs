//! The connections to PostgreSQL: those that do not answer any more are not waited for.
//!
//! sqlx asks each connection whether it is well before it is used and again when it comes back, and waits for the answer for
//! ever. One that is half open keeps its place in the pool that way, and a pool of such is closed to everybody. Hence the
//! questions here, which end. When one comes back it asks once more by itself: a connection that falls silent in just that
//! moment still keeps its place until TCP gives it up.

use std::time::Duration;

use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres};

use super::Error;

/// How long a connection may take to say that it is well.
const WELL: Duration = Duration::from_secs(1);

/// Options with questions that end.
pub(super) fn careful(options: PoolOptions<Postgres>) -> PoolOptions<Postgres> {
    options
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_well(connection)))
        .after_release(|connection, _| Box::pin(is_well(connection)))
}

async fn is_well(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    tokio::time::timeout(WELL, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
}

/// Closes the connections that nobody uses: after a failure there may be another server behind the same address.
pub(super) async fn renew(pool: &PgPool) {
    while let Some(idle) = pool.try_acquire() {
        let _ = tokio::time::timeout(WELL, idle.close()).await;
    }
}

/// Why there is no connection, if there is none: the pool tries again when it is refused, and keeps the reason to itself.
pub(super) async fn refusal(pool: &PgPool) -> Option<Error> {
    match tokio::time::timeout(WELL, pool.connect_options().connect()).await {
        Ok(Ok(connection)) => {
            let _ = tokio::time::timeout(WELL, connection.close()).await;
            None
        }
        Ok(Err(error)) => Some(Error::Unavailable(error.to_string())),
        Err(_) => None,
    }
}
