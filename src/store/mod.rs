//! The database, PostgreSQL or SQLite: the only home of SeaORM.
//!
//! Whoever begins a transaction commits it, on the same screen; nothing here begins one behind a caller's back but where
//! the function's name says so.

mod bank_link_row;
pub mod bank_links;
mod bounded;
mod columns;
pub mod dead_letters;
mod error;
mod id_in;
pub mod outbox;
mod pool;

use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use bounded::{Bounded, answered};
pub use error::{Error, with_deadline};

/// How long one transaction may take, with all that is in it, before it counts as lost.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How long a probe may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);
/// How long to wait for a connection: to be made, or to come back to the pool.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Connections to PostgreSQL, at most: the worker's batch, the recorder's, the relay's claim and the probes.
const CONNECTIONS: u32 = 8;
/// What PostgreSQL is asked for with each connection.
///
/// It ends what a client that died without a word has left open: its locks would stop the other workers, and its statements
/// would keep connections of the pool. A little less than [`DEADLINE`], so that the server is first.
///
/// And it never reads a table whole where an index serves, as it would by a plan that it has kept from when the table was
/// almost empty, or that it has made before the table was analysed. Nor does it make a bitmap of an index: only a plain scan
/// marks what it finds to be dead, and the index of an outbox that is always almost empty is full of that until the next vacuum.
/// Compiling such short statements would never pay.
const SERVER_SETTINGS: [(&str, &str); 9] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
    ("statement_timeout", "25s"),
    // Longer than a batch takes: whoever holds a row for so long is hardly one of ours.
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];
/// How long SQLite waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);
/// Bound values in one statement, at most: SQLite's limit is 32,766, PostgreSQL's 65,535.
const MAX_BINDS: usize = 32_000;

/// Whether a SQLite file that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Made, if the URL says so (`mode=rwc`).
    Create,
    /// An error.
    Refuse,
}

/// A database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    connection: Bounded<DatabaseConnection>,
}

/// Changes that go together. Dropping it takes them back.
pub struct Transaction(Bounded<DatabaseTransaction>);

impl Store {
    /// Whether that is the URL of a database that can be used.
    #[must_use]
    pub fn accepts_url(url: &str) -> bool {
        if url.starts_with("sqlite:") {
            return SqliteConnectOptions::from_str(url).is_ok();
        }
        (url.starts_with("postgres://") || url.starts_with("postgresql://")) && PgConnectOptions::from_str(url).is_ok()
    }

    /// Prepares to use the database at `url`; the first use connects.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub async fn open(url: &str, missing: IfMissing) -> Result<Self, Error> {
        let mut options = ConnectOptions::new(url);
        let connections = if url.starts_with("sqlite:") { 1 } else { CONNECTIONS };
        options
            .connect_lazy(true)
            .max_connections(connections)
            .connect_timeout(CONNECT_DEADLINE)
            .acquire_timeout(CONNECT_DEADLINE)
            .sqlx_logging(false)
            .map_sqlx_postgres_opts(|options| options.application_name("banklink").options(SERVER_SETTINGS))
            .map_sqlx_postgres_pool_opts(pool::careful)
            .map_sqlx_sqlite_opts(move |options| {
                // An acknowledged message must survive a power cut, so a commit waits for the disk.
                let options = options
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(BUSY)
                    // In KiB, negated. Keys are random, so every page is as likely to be wanted next as any other.
                    .pragma("cache_size", "-32768")
                    // In pages: a page that several batches write goes back into the database file once, not each time.
                    .pragma("wal_autocheckpoint", "8192");
                if missing == IfMissing::Refuse { options.create_if_missing(false) } else { options }
            });
        let connection = Database::connect(options).await?;
        Ok(Self { connection: Bounded(connection) })
    }

    /// Opens the database at `url` for a command, which has no use for one that is away.
    ///
    /// # Errors
    /// When the URL cannot be understood, or the database does not answer: why.
    pub async fn connect(url: &str, missing: IfMissing) -> Result<Self, Error> {
        let store = Self::open(url, missing).await?;
        store.ping().await?;
        Ok(store)
    }

    /// The connection, for those who migrate it. What they do has no deadline but theirs.
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection.0
    }

    /// Begins a transaction that may write: on SQLite it takes the one writer's place at once, so that it cannot fail for it
    /// half-way.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        Ok(Transaction(Bounded(answered(self.connection.0.begin_with_options(options)).await?)))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not, within 3 s: why, as far as another second tells.
    pub async fn ping(&self) -> Result<(), Error> {
        self.explain(with_deadline(PROBE_DEADLINE, async { Ok(self.connection.0.ping().await?) }).await).await
    }

    /// Whether a batch could be written just now: writes a bank link and an event, and takes both back. Tells an outage from
    /// a database that answers and yet cannot be written: read-only, a table missing, a right revoked. Where it is the row of
    /// the probe that breaks a constraint, others can be written.
    ///
    /// # Errors
    /// When it could not, within 3 s: why, as far as another second tells.
    pub async fn probe(&self) -> Result<(), Error> {
        let probed = with_deadline(PROBE_DEADLINE, async {
            let transaction = self.begin().await?;
            bank_links::probe(&transaction).await?;
            outbox::probe(&transaction).await?;
            dead_letters::probe(&transaction).await?;
            if !self.is_sqlite() {
                // What would be asked of the rows only when they are committed.
                transaction.0.execute_unprepared("SET CONSTRAINTS ALL IMMEDIATE").await?;
            }
            transaction.rollback().await
        });
        match self.explain(probed.await).await {
            Err(Error::InvalidRow(_)) => Ok(()),
            probed => probed,
        }
    }

    /// Whether events could be taken off the outbox just now.
    ///
    /// # Errors
    /// When they could not, within 3 s: why, as far as another second tells.
    pub async fn probe_outbox(&self) -> Result<(), Error> {
        let probed = with_deadline(PROBE_DEADLINE, async {
            let transaction = self.begin().await?;
            outbox::probe_deleting(&transaction).await?;
            transaction.rollback().await
        });
        self.explain(probed.await).await
    }

    /// Makes sure that what comes next asks the server that is there now: after a failover, a connection from before may
    /// well live on, to a server that only reads.
    pub async fn renew(&self) {
        if !self.is_sqlite() {
            pool::renew(self.connection.0.get_postgres_connection_pool()).await;
        }
    }

    /// Passes a result through; after an error, renews the connections as [`Store::renew`] does.
    ///
    /// # Errors
    /// That of `result`.
    pub async fn renew_on_error<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.renew().await;
        }
        result
    }

    /// The reason why there was no answer, if PostgreSQL gives one.
    async fn explain<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        match answer {
            Err(Error::TimedOut) if !self.is_sqlite() => {
                let refusal = pool::refusal(self.connection.0.get_postgres_connection_pool()).await;
                Err(refusal.unwrap_or(Error::TimedOut))
            }
            answer => answer,
        }
    }

    /// Closes every connection.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(CONNECT_DEADLINE, self.connection.0.close_by_ref()).await;
    }

    fn is_sqlite(&self) -> bool {
        self.connection.get_database_backend() == DbBackend::Sqlite
    }
}

impl Transaction {
    /// Makes the changes last.
    ///
    /// # Errors
    /// When the database is away; whether they last is then unknown, so they are made again, which changes nothing.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(answered(self.0.0.commit()).await?)
    }

    /// Takes the changes back, and waits until its locks are gone; merely dropped, it is taken back a moment later.
    ///
    /// # Errors
    /// When the database is away: then it takes them back by itself.
    pub async fn rollback(self) -> Result<(), Error> {
        Ok(answered(self.0.0.rollback()).await?)
    }
}
