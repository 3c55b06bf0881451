//! Checks whether the database can do its work at this moment: for readiness, and to distinguish a faulty row from an outage.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbBackend, SqliteTransactionMode, Statement};

use super::generation::Generation;
use super::{Error, Store, Transaction, bank_links, connections, letters, outbox, with_deadline};

impl Store {
    /// Checks that the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`], or [`Error::TimedOut`] after [`Deadlines::probe`](super::Deadlines::probe).
    pub async fn ping(&self) -> Result<(), Error> {
        let generation = self.shared.current();
        let answered = with_deadline(self.deadlines.probe, async { Ok(generation.connection.ping().await?) }).await;
        self.explain_timeout(&generation, answered).await
    }

    /// Checks that a batch could be written: writes a bank link, an event and a history entry, and rolls back. It detects what a
    /// ping does not: a read-only server, a missing table, a revoked right.
    ///
    /// A constraint that the probe's own row violates is no outage, since other rows can be written.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::InvalidRow`].
    pub async fn probe(&self) -> Result<(), Error> {
        let probed = self.rolled_back(async |transaction| {
            bank_links::probe(transaction).await?;
            outbox::probe(transaction).await?;
            letters::probe(transaction).await?;
            if !self.is_sqlite() {
                // Deferred constraints are otherwise checked by the commit, which does not happen here.
                transaction.connection.execute_unprepared("SET CONSTRAINTS ALL IMMEDIATE").await?;
            }
            Ok(())
        });
        match probed.await {
            Err(Error::InvalidRow(_)) => Ok(()),
            probed => probed,
        }
    }

    /// The server's own `synchronous_commit`, if commits might be lost in a crash with it. banklink sets it to `on` for itself.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
    pub async fn unsafe_commit_setting(&self) -> Result<Option<String>, Error> {
        if self.is_sqlite() {
            return Ok(None);
        }
        let sql = "SELECT reset_val FROM pg_settings \
                   WHERE name = 'synchronous_commit' AND reset_val NOT IN ('on', 'remote_apply')";
        let query = Statement::from_string(DbBackend::Postgres, sql);
        let row = self.read(async |connection| Ok(connection.query_one_raw(query).await?)).await?;
        Ok(row.map(|row| row.try_get("", "reset_val")).transpose()?)
    }

    /// How far the server's clock is ahead of this machine's, to half the time of a query; `None` with SQLite, which has no server.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
    pub async fn clock_skew(&self) -> Result<Option<TimeDelta>, Error> {
        if self.is_sqlite() {
            return Ok(None);
        }
        let query = Statement::from_string(DbBackend::Postgres, "SELECT clock_timestamp() AS now");
        let asked = Utc::now();
        let row = self.read(async |connection| Ok(connection.query_one_raw(query).await?)).await?;
        let now: Option<DateTime<Utc>> = row.map(|row| row.try_get("", "now")).transpose()?;
        let answered = Utc::now();
        Ok(now.map(|now| now - (asked + (answered - asked) / 2)))
    }

    /// Checks that events could be deleted from the outbox.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn probe_outbox(&self) -> Result<(), Error> {
        self.rolled_back(outbox::probe_delete).await
    }

    /// Runs `work` in a transaction that is always rolled back, within the deadline of a probe.
    async fn rolled_back(&self, work: impl AsyncFnOnce(&Transaction) -> Result<(), Error>) -> Result<(), Error> {
        let generation = self.shared.current();
        let done = with_deadline(self.deadlines.probe, async {
            let transaction = self.begin_on(generation.clone(), SqliteTransactionMode::Immediate).await?;
            let done = work(&transaction).await;
            let rolled_back = transaction.connection.rollback().await;
            done.and(rolled_back.map_err(Error::from))
        });
        self.explain_timeout(&generation, done.await).await
    }

    /// Replaces [`Error::TimedOut`] by the reason for which PostgreSQL refuses connections, if it does; if it accepts them, replaces
    /// the generation, whose connections have fallen silent.
    async fn explain_timeout(&self, generation: &Generation, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(Error::TimedOut) if !self.is_sqlite() => {
                let pool = generation.connection.get_postgres_connection_pool();
                match connections::connect_error(pool, generation.forwarder.as_deref(), self.deadlines.health_check)
                    .await
                {
                    Some(refusal) => Err(refusal),
                    None => self.renew_after_timeout(generation, result).await,
                }
            }
            result => result,
        }
    }
}
