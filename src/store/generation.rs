//! The pool of connections, replaced as a whole when connections fall silent.
//!
//! A network may forget a connection without a word: a moved address, a lost entry of a firewall. PostgreSQL still answers new
//! connections then, but sqlx 0.9.0 cannot get rid of the old ones: over TLS it awaits a close without a deadline, and their
//! places in the pool stay taken (<https://github.com/transact-rs/sqlx/issues/4349>). So a pool that falls silent is left behind,
//! and the next one begins with new connections. This and [`Store::guarded`] can be simplified once a pool bounds each close.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Executor as _};
use sea_orm::{Database, DatabaseConnection};
use tokio::time::timeout;
use tracing::{info, warn};
use uuid::Uuid;

use super::forwarder::Forwarder;
use super::{Deadlines, Error, IfMissing, Store, connections};

/// How often the time before a transaction is suspected may double: 3 s, 6 s, 12 s, 24 s, and then the whole deadline.
const MAX_DOUBLINGS: u32 = 4;

/// What every clone of a [`Store`] shares.
pub(super) struct Shared {
    url: String,
    missing: IfMissing,
    current: RwLock<Generation>,
}

/// How often in a row a transaction of one clone of a [`Store`] was given up as silent. A caller repeats what failed; what takes
/// long for another reason is waited for longer each time. What others do in the meantime says nothing about it.
#[derive(Clone, Default)]
pub(super) struct GivenUp(Arc<AtomicU32>);

/// One pool. Its name is the `application_name` of its sessions, by which the next generation ends those that are left behind.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) connection: DatabaseConnection,
    name: String,
    /// What the connections go through, if they need it. It ends, and they with it, when the generation is dropped.
    pub(super) forwarder: Option<Arc<Forwarder>>,
}

impl Generation {
    async fn open(url: &str, missing: IfMissing, deadlines: Deadlines) -> Result<Self, Error> {
        let name = format!("banklink {}", &Uuid::new_v4().simple().to_string()[..8]);
        let forwarder = connections::forwarder(url, deadlines).await.map(Arc::new);
        let options = connections::options(url, missing, deadlines, &name, forwarder.as_deref());
        Ok(Self { connection: Database::connect(options).await?, name, forwarder })
    }
}

impl Shared {
    pub(super) async fn open(url: &str, missing: IfMissing, deadlines: Deadlines) -> Result<Arc<Self>, Error> {
        let current = RwLock::new(Generation::open(url, missing, deadlines).await?);
        Ok(Arc::new(Self { url: url.to_owned(), missing, current }))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn current(&self) -> Generation {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Store {
    /// Runs `work`, which uses `generation`, within the deadline of a transaction. If it has no result after
    /// [`Deadlines::silence`] although PostgreSQL answers on a new connection, its own connection has probably fallen silent: it is
    /// given up, and the generation replaced.
    ///
    /// # Errors
    /// The error of `work`, or [`Error::TimedOut`].
    pub(super) async fn guarded<T>(
        &self,
        generation: &Generation,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let mut work = std::pin::pin!(work);
        let doublings = self.given_up.0.load(Ordering::Relaxed);
        let wait = self.deadlines.silence * 2_u32.saturating_pow(doublings);
        let mut result = None;
        if !self.is_sqlite() && doublings < MAX_DOUBLINGS && wait < self.deadlines.transaction {
            result = timeout(wait, &mut work).await.ok();
            if result.is_none() && self.answers_elsewhere(generation).await {
                self.given_up.0.store(doublings + 1, Ordering::Relaxed);
                self.renew(generation).await;
                return Err(Error::TimedOut);
            }
        }
        let result = match result {
            Some(result) => result,
            None => {
                let rest = self.deadlines.transaction.saturating_sub(started.elapsed());
                timeout(rest, &mut work).await.unwrap_or(Err(Error::TimedOut))
            }
        };
        if result.is_ok() && started.elapsed() < self.deadlines.silence {
            // Nothing takes long any more.
            self.given_up.0.store(0, Ordering::Relaxed);
        }
        self.renew_after_timeout(generation, result).await
    }

    /// Runs `work`, which may take long, within the deadline of a transaction.
    ///
    /// # Errors
    /// The error of `work`, or [`Error::TimedOut`].
    pub(super) async fn with_full_deadline<T>(
        &self,
        generation: &Generation,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let result = timeout(self.deadlines.transaction, work).await.unwrap_or(Err(Error::TimedOut));
        self.renew_after_timeout(generation, result).await
    }

    /// Passes `result` through. After a timeout replaces the generation, if PostgreSQL answers on a new connection: then every
    /// place of its pool is taken by a connection that has fallen silent.
    pub(super) async fn renew_after_timeout<T>(
        &self,
        generation: &Generation,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if matches!(result, Err(Error::TimedOut)) && !self.is_sqlite() && self.answers_elsewhere(generation).await {
            self.renew(generation).await;
        }
        result
    }

    /// Whether PostgreSQL answers at once on a connection outside the pool.
    async fn answers_elsewhere(&self, generation: &Generation) -> bool {
        let options = generation.connection.get_postgres_connection_pool().connect_options();
        let answer = async {
            let mut connection = options.connect().await?;
            connection.ping().await?;
            connection.close().await
        };
        matches!(timeout(self.deadlines.health_check, answer).await, Ok(Ok(())))
    }

    async fn renew(&self, silent: &Generation) {
        let Ok(next) = Generation::open(&self.shared.url, self.shared.missing, self.deadlines).await else { return };
        {
            let mut current = self.shared.current.write().unwrap_or_else(PoisonError::into_inner);
            if current.name != silent.name {
                return;
            }
            *current = next.clone();
        }
        info!("replaced the connections to PostgreSQL, which had fallen silent");
        let (silent, deadline) = (silent.clone(), self.deadlines.connect);
        tokio::spawn(async move {
            if let Err(error) = end_sessions(&next, &silent.name, deadline).await {
                warn!(%error, "cannot end the sessions that were left behind; PostgreSQL ends them, with their locks, within a minute");
            }
            let _ = timeout(deadline, silent.connection.close()).await;
        });
    }
}

/// Ends the sessions of an earlier generation: PostgreSQL does not know yet that nothing more will come from them, and keeps their
/// locks. A user may end sessions of its own.
async fn end_sessions(next: &Generation, name: &str, deadline: Duration) -> Result<(), sqlx::Error> {
    let ending = async {
        let mut connection = next.connection.get_postgres_connection_pool().connect_options().connect().await?;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        connection.execute(sqlx::query(sql).bind(name)).await?;
        connection.close().await
    };
    timeout(deadline, ending).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
