//! Whose fault a database error is: the row's, which costs an attempt, or the world's, which costs only time.

use std::time::Duration;

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::sqlx::sqlite::SqliteError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

use super::bounded::NO_ANSWER;

/// What can go wrong with the database.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database refuses what a row holds: SQLSTATE class 22, 23 or 54, or SQLite's constraint, mismatch or too big.
    #[error("refused by the database: {0}")]
    InvalidRow(String),
    /// A rule of PostgreSQL's own says no: `RAISE` in a trigger or a view's condition, SQLSTATE class P0 or 44. The row is at
    /// fault only if others can be written: nobody knows what such a rule looks at.
    #[error("refused by a rule of the database: {0}")]
    RuleViolation(String),
    /// PostgreSQL could not do this, and says nothing that concerns all: a lock that somebody else holds, a statement that took
    /// too long. Perhaps it can do the same for other rows.
    #[error("the database cannot do it now: {0}")]
    Blocked(String),
    /// Anything else, foreseen or not: no connection, a deadlock, a full disk, a server that only reads.
    #[error("the database is away: {0}")]
    Unavailable(String),
    /// No answer within the deadline.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Others wrote the same rows again and again.
    #[error("others kept writing the same rows")]
    Contended,
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => return Self::TimedOut,
            DbErr::Conn(RuntimeErr::Internal(said)) if said == NO_ANSWER => return Self::TimedOut,
            _ => {}
        }
        if let DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } = error {
            return Self::InvalidRow("the row cannot be read".to_owned());
        }
        let said = said_by_the_database(&error);
        match said.and_then(|said| Some((said, blame(said)?))) {
            Some((said, Blame::Row)) => Self::InvalidRow(rule(said)),
            Some((said, Blame::Rule)) => Self::RuleViolation(rule(said)),
            Some((_, Blame::Unclear)) => Self::Blocked(discreetly(&error)),
            None => Self::Unavailable(discreetly(&error)),
        }
    }
}

/// Waits for work with the database no longer than `deadline`.
///
/// # Errors
/// [`Error::TimedOut`], or what the work came to.
pub async fn with_deadline<T>(deadline: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
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

/// What the database blames, if it is not the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Row,
    Rule,
    Unclear,
}

fn blame(said: &dyn DatabaseError) -> Option<Blame> {
    let code = said.code()?;
    if said.try_downcast_ref::<SqliteError>().is_some() {
        // Extended result codes keep the primary code in the low byte: TOOBIG 18, CONSTRAINT 19, MISMATCH 20.
        return code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20)).then_some(Blame::Row);
    }
    blame_by_sqlstate(&code)
}

/// By "PostgreSQL Error Codes", appendix A of its manual.
fn blame_by_sqlstate(code: &str) -> Option<Blame> {
    match (code, code.get(..2)?) {
        // Data, constraints, limits.
        (_, "22" | "23" | "54") => Some(Blame::Row),
        (_, "P0" | "44") => Some(Blame::Rule),
        // One statement was cancelled; the rest of its class are servers that go away.
        ("57014", _) => Some(Blame::Unclear),
        // Connections, who may connect, transactions, deadlocks, resources, operators, the system.
        (_, "08" | "25" | "28" | "40" | "53" | "57" | "58") => None,
        _ => Some(Blame::Unclear),
    }
}

/// The code, and the rule that was broken if it has a name; no values, which the message would repeat.
fn rule(said: &dyn DatabaseError) -> String {
    let code = said.code().unwrap_or_default();
    match said.constraint() {
        Some(constraint) => format!("{code}, constraint {constraint}"),
        None => code.into_owned(),
    }
}

/// What the error says, unless somebody's own function has chosen the words: they may repeat values.
fn discreetly(error: &DbErr) -> String {
    let postgres = said_by_the_database(error).and_then(|said| said.try_downcast_ref::<PgDatabaseError>());
    match postgres {
        Some(said) if said.routine() == Some("exec_stmt_raise") => format!("{}, raised by a function", said.code()),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_from_the_server_is_the_worlds_fault() {
        for error in [
            DbErr::Custom("odd".to_owned()),
            DbErr::Query(RuntimeErr::SqlxError(sea_orm::sqlx::Error::PoolTimedOut.into())),
        ] {
            assert!(matches!(Error::from(error), Error::Unavailable(_)));
        }
    }

    #[test]
    fn postgresql_tells_rows_and_outages_apart_by_class_and_leaves_the_rest_to_be_found_out() {
        for (codes, blamed) in [
            (["22001", "23514", "54000"], Some(Blame::Row)),
            (["P0001", "P0004", "44000"], Some(Blame::Rule)),
            (["55P03", "57014", "42P01"], Some(Blame::Unclear)),
            (["40P01", "25006", "57P01"], None),
            (["08006", "53100", "58030"], None),
        ] {
            assert_eq!(codes.map(blame_by_sqlstate), [blamed; 3], "{codes:?}");
        }
    }
}
