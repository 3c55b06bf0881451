//! Keeps connections that no longer answer out of the pool of PostgreSQL.
//!
//! sqlx pings a connection when it is acquired and when it is released. The ping on release has no deadline: a connection whose
//! server vanished silently keeps its place in the pool, until no place is left
//! (<https://github.com/transact-rs/sqlx/issues/4349>). The hooks here ping with a deadline first. A connection that falls
//! silent between the hook and sqlx's own ping still keeps its place until TCP gives up; the keepalive settings of
//! [`connect_options`](super::connect_options) bound that. Remove the hooks when that issue is fixed.

use std::time::Duration;

use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::Error;

/// Adds pings that take at most `deadline`, before and after each use of a connection.
pub(super) fn with_health_checks(options: PoolOptions<Postgres>, deadline: Duration) -> PoolOptions<Postgres> {
    options
        .test_before_acquire(false)
        .before_acquire(move |connection, _| Box::pin(ping(connection, deadline)))
        .after_release(move |connection, _| Box::pin(ping(connection, deadline)))
}

/// Fails rather than returning `false`: after `false` sqlx closes the connection politely, which could hang as well.
async fn ping(connection: &mut PgConnection, deadline: Duration) -> Result<bool, sqlx::Error> {
    timeout(deadline, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
}

/// Closes the connections that are not in use.
pub(super) async fn close_idle(pool: &PgPool, deadline: Duration) {
    while let Some(idle) = pool.try_acquire() {
        let _ = timeout(deadline, idle.close()).await;
    }
}

/// Connects once outside the pool, and returns the error if the server refuses. The pool retries a refused connection until its
/// timeout and then reports only the timeout (<https://github.com/transact-rs/sqlx/issues/3808>).
pub(super) async fn connect_error(pool: &PgPool, deadline: Duration) -> Option<Error> {
    match timeout(deadline, pool.connect_options().connect()).await {
        Ok(Ok(connection)) => {
            let _ = timeout(deadline, connection.close()).await;
            None
        }
        Ok(Err(error)) => Some(Error::Unavailable(error.to_string())),
        Err(_) => None,
    }
}
