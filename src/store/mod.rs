//! The database, PostgreSQL or SQLite: the only module that uses SeaORM.
//!
//! Functions that take `&Transaction` never commit; functions that take `&Store` open and commit their own. README.md in this
//! directory explains the statements and the planner settings, `deadlines.rs` the deadlines.

pub mod audit;
mod bank_link_columns;
pub mod bank_links;
mod bulk_statements;
mod connections;
mod deadlines;
mod error;
mod forwarder;
mod generation;
pub mod handover;
pub mod leases;
pub mod letters;
pub mod link_reads;
mod locks;
pub mod outbox;
pub mod outbox_claims;
pub mod outbox_counts;
mod probes;
pub mod reconcile_runs;
pub mod replays;
mod session;
mod spans;
mod tls;

use std::str::FromStr;
use std::sync::Arc;

use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tokio::time::timeout;

pub use deadlines::{Deadlines, with_deadline};
pub use error::{Cause, Error};
use generation::{Generation, GivenUp, Shared};
pub use spans::Operation;

/// Maximum number of bound parameters in one statement: SQLite's limit is 32,766, PostgreSQL's 65,535.
const MAX_BINDS: usize = 32_000;

/// What to do about a SQLite file that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Create it, if the URL says so (`mode=rwc`).
    Create,
    /// Fail.
    Refuse,
}

/// A database. Clones share its connections; each judges for itself whether its transactions take long (`generation.rs`), so each
/// loop has a clone of its own.
pub struct Store {
    shared: Arc<Shared>,
    deadlines: Deadlines,
    given_up: GivenUp,
}

impl Clone for Store {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), deadlines: self.deadlines, given_up: GivenUp::default() }
    }
}

/// A transaction. Dropping it rolls it back in the background.
pub struct Transaction {
    connection: DatabaseTransaction,
    generation: Generation,
}

impl Transaction {
    /// Commits.
    ///
    /// # Errors
    /// Any [`Error`]: deferred constraints are checked now. After [`Error::Unavailable`], the changes may last or not.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.connection.commit().await?)
    }
}

impl Store {
    /// The same store, for what belongs to a transaction of this one.
    fn same(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), deadlines: self.deadlines, given_up: self.given_up.clone() }
    }

    /// Whether `url` is a valid URL of a supported database.
    #[must_use]
    pub fn accepts_url(url: &str) -> bool {
        if url.starts_with("sqlite:") {
            return SqliteConnectOptions::from_str(url).is_ok();
        }
        (url.starts_with("postgres://") || url.starts_with("postgresql://")) && PgConnectOptions::from_str(url).is_ok()
    }

    /// What is weak about the connection that `url` asks for, if anything: it is not verified, or not encrypted.
    #[must_use]
    pub fn connection_warning(url: &str) -> Option<String> {
        if url.starts_with("sqlite:") { None } else { tls::warning(url) }
    }

    /// Prepares to use the database at `url`; the first use connects.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the URL is invalid, or the file of a SQLite database cannot be created.
    pub async fn open(url: &str, missing: IfMissing, deadlines: Deadlines) -> Result<Self, Error> {
        if missing == IfMissing::Create {
            connections::create_private_file(url)?;
        }
        Ok(Self { shared: Shared::open(url, missing, deadlines).await?, deadlines, given_up: GivenUp::default() })
    }

    /// Opens the database at `url` and checks that it answers: for commands, which do not wait for an outage to end.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the URL is invalid or the database refuses the connection, [`Error::TimedOut`] when it does
    /// not answer.
    pub async fn connect(url: &str, missing: IfMissing) -> Result<Self, Error> {
        let store = Self::open(url, missing, Deadlines::for_commands()).await?;
        store.ping().await?;
        Ok(store)
    }

    /// The pool of connections. A statement on it has no deadline of the store.
    #[must_use]
    pub fn connection(&self) -> DatabaseConnection {
        self.shared.current().connection
    }

    /// Closes the idle connections to PostgreSQL. After a failover a connection may still lead to the old server, which is
    /// read-only now.
    pub async fn close_idle_connections(&self) {
        if !self.is_sqlite() {
            while let Some(idle) = self.connection().get_postgres_connection_pool().try_acquire() {
                let _ = timeout(self.deadlines.health_check, idle.close()).await;
            }
        }
    }

    /// Passes `result` through; after an error, closes the idle connections as [`Store::close_idle_connections`] does.
    ///
    /// # Errors
    /// The error of `result`.
    pub async fn close_idle_on_error<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.close_idle_connections().await;
        }
        result
    }

    /// Closes every connection.
    pub async fn close(&self) {
        let _ = timeout(self.deadlines.connect, self.connection().close_by_ref()).await;
    }

    /// Runs `work` in a transaction and commits it; all of it within [`Deadlines::transaction`]. If `work` fails, the transaction
    /// is rolled back before this returns, so that its locks are gone.
    ///
    /// # Errors
    /// The error of `work`, of the commit, or [`Error::TimedOut`]. After a failed commit it is unknown whether the changes
    /// last; every caller repeats them, which is idempotent.
    pub async fn transaction<T>(&self, work: impl AsyncFnOnce(&Transaction) -> Result<T, Error>) -> Result<T, Error> {
        let generation = self.shared.current();
        let run = async {
            let transaction = self.begin_on(generation.clone(), SqliteTransactionMode::Immediate).await?;
            match work(&transaction).await {
                Ok(value) => transaction.commit().await.map(|()| value),
                Err(error) => {
                    // Its own error would say less than the one that caused it.
                    let _ = transaction.connection.rollback().await;
                    Err(error)
                }
            }
        };
        self.guarded(&generation, run).await
    }

    /// Begins a transaction for a caller that cannot use [`Store::transaction`]. The caller sets the deadline.
    ///
    /// On SQLite it takes the write lock at once (`BEGIN IMMEDIATE`). A transaction that reads first would take it with its
    /// first write, and that fails if another process has written meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::TimedOut`] when there is no connection.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        self.begin_on(self.shared.current(), SqliteTransactionMode::Immediate).await
    }

    async fn begin_on(&self, generation: Generation, mode: SqliteTransactionMode) -> Result<Transaction, Error> {
        let sqlite_transaction_mode = Some(mode);
        let options = TransactionOptions { sqlite_transaction_mode, ..Default::default() };
        let connection = generation.connection.begin_with_options(options).await?;
        let prelude = self.transaction_prelude();
        if !prelude.is_empty() {
            connection.execute_unprepared(&prelude).await?;
        }
        Ok(Transaction { connection, generation })
    }

    /// What a transaction begins with, in SQL; empty unless the database is behind a pooler. [`Store::begin`] runs it, and
    /// migrations do.
    #[must_use]
    pub fn transaction_prelude(&self) -> String {
        session::transaction_prelude(self.shared.url(), self.deadlines)
    }

    /// Reads in a transaction of its own: behind a pooler, a statement that was prepared outside one may not be there any more when
    /// it runs.
    async fn read<T>(&self, read: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, Error>) -> Result<T, Error> {
        let generation = self.shared.current();
        self.with_full_deadline(&generation, self.run_read(&generation, read)).await
    }

    /// Reads as [`Store::read`] does, for a loop that must soon notice that its connection has fallen silent.
    async fn read_quickly<T>(
        &self,
        read: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let generation = self.shared.current();
        self.guarded(&generation, self.run_read(&generation, read)).await
    }

    async fn run_read<T>(
        &self,
        generation: &Generation,
        read: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transaction = self.begin_on(generation.clone(), SqliteTransactionMode::Deferred).await?;
        let result = read(&transaction.connection).await?;
        transaction.commit().await?;
        Ok(result)
    }

    /// Whether several transactions can write at once: on PostgreSQL.
    #[must_use]
    pub fn has_parallel_writes(&self) -> bool {
        !self.is_sqlite()
    }

    fn is_sqlite(&self) -> bool {
        self.connection().get_database_backend() == DbBackend::Sqlite
    }
}
