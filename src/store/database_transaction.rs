//! Transactions: how they begin, commit and roll back.

use std::time::Duration;

use sea_orm::{DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait};

use super::{Error, Store, with_deadline};

/// A transaction. Dropping it rolls it back in the background.
pub struct Transaction {
    pub(super) connection: DatabaseTransaction,
    deadline: Duration,
}

impl Store {
    /// Runs `work` in a transaction and commits it; all of it within [`Deadlines::transaction`](super::Deadlines::transaction).
    /// If `work` fails, the transaction is rolled back before this returns, so that its locks are gone.
    ///
    /// # Errors
    /// The error of `work`, of the commit, or [`Error::TimedOut`]. After a failed commit it is unknown whether the changes
    /// last; every caller repeats them, which is idempotent.
    pub async fn transaction<T>(&self, work: impl AsyncFnOnce(&Transaction) -> Result<T, Error>) -> Result<T, Error> {
        with_deadline(self.deadlines.transaction, async {
            let transaction = self.begin().await?;
            match work(&transaction).await {
                Ok(value) => transaction.commit().await.map(|()| value),
                Err(error) => {
                    // Its own error would say less than the one that caused it.
                    let _ = transaction.rollback().await;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Begins a transaction for a caller that cannot use [`Store::transaction`], because it outlives one function.
    ///
    /// On SQLite it takes the write lock at once (`BEGIN IMMEDIATE`). A transaction that reads first would take it with its
    /// first write, and that fails if another process has written meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::TimedOut`].
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        let deadline = self.deadlines.transaction;
        let connection =
            with_deadline(deadline, async { Ok(self.connection.begin_with_options(options).await?) }).await?;
        Ok(Transaction { connection, deadline })
    }
}

impl Transaction {
    /// Commits.
    ///
    /// # Errors
    /// Any [`Error`], since deferred constraints are checked now. After [`Error::Unavailable`] or [`Error::TimedOut`] it is
    /// unknown whether the changes last.
    pub async fn commit(self) -> Result<(), Error> {
        with_deadline(self.deadline, async { Ok(self.connection.commit().await?) }).await
    }

    /// Rolls back, and waits until the locks are gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::TimedOut`]; the database then rolls back by itself.
    pub async fn rollback(self) -> Result<(), Error> {
        with_deadline(self.deadline, async { Ok(self.connection.rollback().await?) }).await
    }
}
