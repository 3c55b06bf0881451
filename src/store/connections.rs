//! How connections are configured, and how those that no longer answer are kept out of the pool of PostgreSQL.
//!
//! sqlx pings a connection when it is acquired and when it is released. The ping on release has no deadline: a connection whose
//! server vanished silently keeps its place in the pool, until no place is left
//! (<https://github.com/transact-rs/sqlx/issues/4349>). The hooks here ping with a deadline first, on acquiring only what was idle
//! for a while: a connection that died within the last second fails its transaction, which is repeated. A connection that falls
//! silent between the hook and sqlx's own ping still keeps its place until TCP gives up; the keepalive settings bound that.
//! Remove the hooks when that issue is fixed.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::ConnectOptions;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};
use tokio::time::timeout;

use super::forwarder::Forwarder;
use super::{Deadlines, Error, IfMissing, session, tls};

/// The size of the pool for PostgreSQL: the worker's two batches, the recorder's batch, the relay's three claims and what was handed over to
/// it, and probes.
const MAX_CONNECTIONS: u32 = 10;

/// Options for the database at `url`, whose sessions on PostgreSQL are called `name`; nothing connects yet.
pub(super) fn options(
    url: &str,
    missing: IfMissing,
    deadlines: Deadlines,
    name: &str,
    forwarder: Option<&Forwarder>,
) -> ConnectOptions {
    let is_pooled = session::is_pooled(url);
    let mut options = ConnectOptions::new(url);
    options
        .connect_lazy(true)
        .max_connections(if url.starts_with("sqlite:") { 1 } else { MAX_CONNECTIONS })
        .connect_timeout(deadlines.connect)
        .acquire_timeout(deadlines.connect)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts({
            let (url, name) = (url.to_owned(), name.to_owned());
            let socket = forwarder.map(|forwarder| forwarder.directory().to_owned());
            move |options| {
                let options = session::with_settings(options.application_name(&name), &url, deadlines);
                let options = tls::with_verification(options, &url);
                match &socket {
                    Some(socket) => options.socket(socket),
                    None => options,
                }
            }
        })
        .map_sqlx_postgres_pool_opts(move |options| {
            options
                .after_connect(move |connection, _| Box::pin(prepare(connection, is_pooled)))
                .test_before_acquire(false)
                .before_acquire(move |connection, meta| {
                    // It was pinged when it was released. One request less over a distance, for each transaction under load.
                    let is_fresh = meta.idle_for < deadlines.health_check;
                    Box::pin(
                        async move { if is_fresh { Ok(true) } else { ping(connection, deadlines.health_check).await } },
                    )
                })
                .after_release(move |connection, _| Box::pin(ping(connection, deadlines.health_check)))
        })
        .map_sqlx_sqlite_opts(move |options| {
            let options = options
                .journal_mode(SqliteJournalMode::Wal)
                // An acknowledged message must survive a power failure, so each commit waits for the disk.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(deadlines.lock)
                // 32 MiB (in KiB, negated). Keys are random, so every page is equally likely to be needed next.
                .pragma("cache_size", "-32768")
                // 32 MiB (in pages of 4 KiB): a page that several batches write is copied into the database file once.
                .pragma("wal_autocheckpoint", "8192");
            if missing == IfMissing::Refuse { options.create_if_missing(false) } else { options }
        });
    options
}

/// What connections to the database at `url` go through, if they need it: those that use TLS do.
pub(super) async fn forwarder(url: &str, deadlines: Deadlines) -> Option<Forwarder> {
    if url.starts_with("sqlite:") {
        return None;
    }
    let options = PgConnectOptions::from_str(url).ok()?;
    let options = tls::with_verification(options, url);
    // A server that does not answer now may turn out to have TLS.
    if matches!(options.get_ssl_mode(), PgSslMode::Prefer) && tls::is_declined(&options, deadlines.health_check).await {
        return None;
    }
    // Longer than the pool waits, which then asks for the reason: sqlx would see a connection that ends without one.
    Forwarder::start(&options, 2 * deadlines.connect)
}

/// Sets what depends on the session's own settings. Behind a pooler each transaction does that.
async fn prepare(connection: &mut PgConnection, is_pooled: bool) -> Result<(), sqlx::Error> {
    if is_pooled { Ok(()) } else { connection.execute(session::COMMIT_DURABLY).await.map(drop) }
}

/// Creates the file of a SQLite database, readable by its owner only, if `url` allows to create it (`mode=rwc`) and it does not
/// exist. SQLite gives its other files the same mode. It would create the first one readable by all.
pub(super) fn create_private_file(url: &str) -> Result<(), Error> {
    let Some(options) = url.strip_prefix("sqlite:").and_then(|_| SqliteConnectOptions::from_str(url).ok()) else {
        return Ok(());
    };
    if !url.contains("mode=rwc") {
        return Ok(());
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(options.get_filename()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::Unavailable(format!("cannot create the database file: {error}").into()))
        }
        _ => Ok(()),
    }
}

/// Fails rather than returning `false`: after `false` sqlx closes the connection politely, which could hang as well.
async fn ping(connection: &mut PgConnection, deadline: Duration) -> Result<bool, sqlx::Error> {
    timeout(deadline, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
}

/// Connects once outside the pool, and returns the error if the server refuses. The pool retries a refused connection until its
/// timeout and then reports only the timeout (<https://github.com/transact-rs/sqlx/issues/3808>).
pub(super) async fn connect_error(pool: &PgPool, forwarder: Option<&Forwarder>, deadline: Duration) -> Option<Error> {
    if let Some(forwarder) = forwarder
        && let Err(error) = timeout(deadline, forwarder.reach()).await.ok()?
    {
        return Some(Error::Unavailable(error.to_string().into()));
    }
    match timeout(deadline, pool.connect_options().connect()).await.ok()? {
        Ok(connection) => {
            let _ = timeout(deadline, connection.close()).await;
            None
        }
        Err(error) => Some(Error::Unavailable(error.to_string().into())),
    }
}
