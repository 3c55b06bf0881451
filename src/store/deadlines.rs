//! Every deadline of the database, why it has its length, and which error follows when it passes.
//!
//! Nothing waits for the database without end. Each function that takes `&Store` applies [`Deadlines::transaction`] to all that
//! it does; functions that take `&Transaction` run under the deadline of that transaction. When something is slow, `lock`,
//! `silence`, `statement`, `transaction` and `idle_in_transaction` fire in this order, so that the most precise cause is reported.

use std::time::Duration;

use super::Error;
use crate::failpoints;

/// The deadlines of a [`Store`](super::Store). Tests shorten them; the program uses the defaults. None may be less than 1 ms:
/// PostgreSQL reads 0 as "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// The wait for a connection, be it a new one or a free one of the pool. Default 3 s.
    pub connect: Duration,
    /// The ping of a connection after each use, and before the next one if that is later than this. Default 1 s.
    pub health_check: Duration,
    /// The wait of one statement for a lock: `lock_timeout` of PostgreSQL, `busy_timeout` of SQLite. Default 2 s, longer than a
    /// batch of another worker takes, so that only locks of other programs exceed it. Other rows can still be written:
    /// [`Error::Blocked`]. SQLite locks the whole database: [`Error::Unavailable`].
    pub lock: Duration,
    /// After this time without a result PostgreSQL is asked on a new connection. If it answers there, the connection of the
    /// transaction has probably fallen silent, and it is given up: [`Error::TimedOut`]. Default 3 s, longer than a wait for a lock,
    /// so that work resumes within 5 s (docs/CONTRACT.md#1-promises). It doubles while this keeps happening, in case that everything
    /// takes long.
    pub silence: Duration,
    /// One statement on PostgreSQL (`statement_timeout`). Default 25 s, less than `transaction`, so that the server is first. It
    /// still answers, so this too is [`Error::Blocked`].
    pub statement: Duration,
    /// A whole transaction, or a query outside any. Default 30 s. Either the server does not answer, or all statements together
    /// take too long: [`Error::TimedOut`].
    pub transaction: Duration,
    /// The wait of PostgreSQL for the next statement of a transaction (`idle_in_transaction_session_timeout`), which frees the
    /// locks of a client that has died. Default 60 s: it must exceed the time for which a relay holds a claim while it publishes.
    pub idle_in_transaction: Duration,
    /// A ping or a probe, for readiness. Default 3 s.
    pub probe: Duration,
}

impl Deadlines {
    /// For commands, which do not repeat what failed: an operator's query may take long.
    #[must_use]
    pub fn for_commands() -> Self {
        let deadlines = Self::default();
        Self { silence: deadlines.transaction, ..deadlines }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            health_check: Duration::from_secs(1),
            lock: Duration::from_secs(2),
            silence: failpoints::shortened_for_tests(Duration::from_secs(3)),
            statement: failpoints::shortened_for_tests(Duration::from_secs(25)),
            transaction: failpoints::shortened_for_tests(Duration::from_secs(30)),
            idle_in_transaction: Duration::from_secs(60),
            probe: Duration::from_secs(3),
        }
    }
}

/// Runs `work`, for at most `deadline`.
///
/// # Errors
/// [`Error::TimedOut`] when the deadline passes first, else the error of `work`.
pub async fn with_deadline<T>(deadline: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(deadline, work).await.map_err(|_| Error::TimedOut)?
}
