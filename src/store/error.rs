//! Whose fault a database error is: the row's, which costs an attempt, or the world's, which costs only time.

use std::time::Duration;

use sea_orm::sqlx::{self, error::DatabaseError};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

use super::bounded::NO_ANSWER;

const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What can go wrong with the database.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database refuses what a row holds: SQLSTATE class 22, 23 or 54, or SQLite's constraint, mismatch or too big.
    #[error("refused by the database: {0}")]
    Rejected(String),
    /// Anything else, foreseen or not: no connection, a deadlock, a missing table, a full disk.
    #[error("the database is away: {0}")]
    Away(String),
    /// PostgreSQL has waited long enough for a lock that somebody else holds: SQLSTATE 55P03.
    #[error("somebody else holds a lock: {0}")]
    Locked(String),
    /// No answer within the deadline.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Others wrote the same rows again and again.
    #[error("others kept writing the same rows")]
    Contended,
}

impl Error {
    /// Whether the content of a row is at fault.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => return Self::TimedOut,
            DbErr::Conn(RuntimeErr::Internal(said)) if said == NO_ANSWER => return Self::TimedOut,
            _ => {}
        }
        if said_by_the_database(&error).and_then(DatabaseError::code).is_some_and(|code| code == LOCK_NOT_AVAILABLE) {
            return Self::Locked(error.to_string());
        }
        match rejection(&error) {
            Some(reason) => Self::Rejected(reason),
            None => Self::Away(error.to_string()),
        }
    }
}

/// Waits for work with the database no longer than `deadline`.
///
/// # Errors
/// [`Error::TimedOut`], or what the work came to.
pub async fn in_time<T>(deadline: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(deadline, work).await.map_err(|_| Error::TimedOut)?
}

fn said_by_the_database(error: &DbErr) -> Option<&dyn DatabaseError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            error.as_database_error()
        }
        _ => None,
    }
}

/// The code and the rule that a row broke; no values, which the message would repeat.
fn rejection(error: &DbErr) -> Option<String> {
    if let DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } = error {
        return Some("the row cannot be read".to_owned());
    }
    let error = said_by_the_database(error)?;
    let code = error.code()?;
    let is_the_rows_fault = if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // Extended result codes keep the primary code in the low byte: TOOBIG 18, CONSTRAINT 19, MISMATCH 20.
        code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20))
    } else {
        matches!(code.get(..2), Some("22" | "23" | "54"))
    };
    is_the_rows_fault.then(|| match error.constraint() {
        Some(constraint) => format!("{code}, constraint {constraint}"),
        None => code.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_foresaw_is_the_worlds_fault() {
        assert!(!Error::from(DbErr::Custom("odd".to_owned())).is_rejection());
        assert!(!Error::from(DbErr::Query(RuntimeErr::SqlxError(sqlx::Error::PoolTimedOut.into()))).is_rejection());
    }
}
