//! How connections are configured: pool size, durability, and the settings of each PostgreSQL session.

use std::time::Duration;

use sea_orm::ConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use super::{Deadlines, IfMissing, pool_health};

/// The size of the pool for PostgreSQL: the worker's batch, the recorder's batch, the relay's claims, and probes.
const MAX_CONNECTIONS: u32 = 8;
/// Settings of each PostgreSQL session; README.md says what the planner settings do and cost.
const SESSION_SETTINGS: [(&str, &str); 6] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    // The statements are so short that compiling them costs more than it saves.
    ("jit", "off"),
    // The server notices within half a minute that a client's host has vanished, and frees its locks.
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// Options for the database at `url`; nothing connects yet.
pub(super) fn connect_options(url: &str, missing: IfMissing, deadlines: Deadlines) -> ConnectOptions {
    let milliseconds = |deadline: Duration| format!("{}ms", deadline.as_millis());
    let timeouts = [
        ("lock_timeout", milliseconds(deadlines.lock)),
        ("statement_timeout", milliseconds(deadlines.statement)),
        ("idle_in_transaction_session_timeout", milliseconds(deadlines.idle_in_transaction)),
    ];
    let mut options = ConnectOptions::new(url);
    options
        .connect_lazy(true)
        .max_connections(if url.starts_with("sqlite:") { 1 } else { MAX_CONNECTIONS })
        .connect_timeout(deadlines.connect)
        .acquire_timeout(deadlines.connect)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |options| {
            options.application_name("banklink").options(SESSION_SETTINGS).options(timeouts.clone())
        })
        .map_sqlx_postgres_pool_opts(move |options| pool_health::with_health_checks(options, deadlines.health_check))
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
