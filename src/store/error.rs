//! Classifies database errors: a faulty row consumes an attempt of its message, an outage does not.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::sqlx::sqlite::SqliteError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

/// A failure of the database, by what the caller should do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database rejects the contents of a row: SQLSTATE class 22, 23 or 54, or SQLite's `CONSTRAINT`, `MISMATCH` or `TOOBIG`;
    /// or a stored row cannot be decoded. Other rows are not affected.
    #[error("the database rejects the row: {0}")]
    InvalidRow(Cause),
    /// Raised by a trigger (SQLSTATE class P0) or `WITH CHECK OPTION` (class 44). Such a rule may look at anything, so the row is
    /// faulty only if other rows can be written.
    #[error("a rule of the database rejects the row: {0}")]
    RuleViolation(Cause),
    /// PostgreSQL cannot run this statement, for a reason that may be limited to it: a lock that another session holds, a
    /// statement that took too long, a missing table. Other rows may be writable.
    #[error("the database cannot run the statement: {0}")]
    Blocked(Cause),
    /// No connection, a deadlock, a full disk, a read-only server, and on SQLite every error that is not listed above. On PostgreSQL
    /// unlisted classes are [`Error::Blocked`].
    #[error("the database is unavailable: {0}")]
    Unavailable(Cause),
    /// No answer within the deadline.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Other transactions wrote the same rows first, each time.
    #[error("other transactions kept writing the same rows")]
    Contended,
}

/// Why the database failed, in its own words or ours, without values of rows.
#[derive(Clone, Debug)]
pub struct Cause {
    text: String,
    code: Option<String>,
}

impl Cause {
    /// The text for an answer of the server, with its code.
    fn of(text: String, answer: &dyn DatabaseError) -> Self {
        Self { text, code: answer.code().map(Cow::into_owned) }
    }
}

impl Display for Cause {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self { text, code: None }
    }
}

impl Error {
    /// What the server answered with: an SQLSTATE, or a result code of SQLite. `None` if it did not answer.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::InvalidRow(cause) | Self::RuleViolation(cause) | Self::Blocked(cause) | Self::Unavailable(cause) => {
                cause.code.as_deref()
            }
            Self::TimedOut | Self::Contended => None,
        }
    }

    /// The kind of error, for strangers: the database's own words name users, hosts and tables.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::InvalidRow(_) => "the database rejects the row",
            Self::RuleViolation(_) => "a rule of the database rejects the row",
            Self::Blocked(_) => "the database cannot run the statement",
            Self::Unavailable(_) => "the database is unavailable",
            Self::TimedOut => "the database did not answer in time",
            Self::Contended => "other transactions kept writing the same rows",
        }
    }

    /// The stored row cannot be decoded: another program wrote it.
    pub(super) fn unreadable_row() -> Self {
        Self::InvalidRow("the row cannot be read".to_owned().into())
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => return Self::TimedOut,
            DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } => return Self::unreadable_row(),
            _ => {}
        }
        let Some(database_error) = database_error(&error) else { return Self::Unavailable(error.to_string().into()) };
        let by_code = || Cause::of(code_and_constraint(database_error), database_error);
        let by_text = || Cause::of(text_without_values(&error, database_error), database_error);
        match classify(database_error) {
            Class::InvalidRow => Self::InvalidRow(by_code()),
            Class::RuleViolation => Self::RuleViolation(by_code()),
            Class::Blocked => Self::Blocked(by_text()),
            Class::Unavailable => Self::Unavailable(by_text()),
        }
    }
}

/// The variants of [`Error`] that an error of the server can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    InvalidRow,
    RuleViolation,
    Blocked,
    Unavailable,
}

/// The answer of the server to a statement, if that is what the error is.
fn database_error(error: &DbErr) -> Option<&dyn DatabaseError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            error.as_database_error()
        }
        _ => None,
    }
}

fn classify(error: &dyn DatabaseError) -> Class {
    let Some(code) = error.code() else { return Class::Unavailable };
    if error.try_downcast_ref::<SqliteError>().is_none() {
        return classify_sqlstate(&code);
    }
    // The low byte of an extended result code is the primary code: TOOBIG 18, CONSTRAINT 19, MISMATCH 20.
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(18..=20) => Class::InvalidRow,
        _ => Class::Unavailable,
    }
}

/// By "PostgreSQL Error Codes", appendix A of its manual.
fn classify_sqlstate(code: &str) -> Class {
    match (code, code.get(..2).unwrap_or_default()) {
        // Data exceptions, integrity constraints, program limits.
        (_, "22" | "23" | "54") => Class::InvalidRow,
        (_, "P0" | "44") => Class::RuleViolation,
        // One statement was cancelled; the rest of class 57 are servers that shut down.
        ("57014", _) => Class::Blocked,
        // Connections, transaction states, authorization, deadlocks, resources, operators, the system.
        (_, "" | "08" | "25" | "28" | "40" | "53" | "57" | "58") => Class::Unavailable,
        _ => Class::Blocked,
    }
}

/// The code, and the name of the violated constraint if there is one. Not the message: it repeats values of the row.
fn code_and_constraint(error: &dyn DatabaseError) -> String {
    let code = error.code().unwrap_or_default();
    match error.constraint() {
        Some(constraint) => format!("{code}, constraint {constraint}"),
        None => code.into_owned(),
    }
}

/// The text of the error, unless a user-defined function raised it: such a text may repeat values of the row.
fn text_without_values(error: &DbErr, database_error: &dyn DatabaseError) -> String {
    match database_error.try_downcast_ref::<PgDatabaseError>() {
        Some(raised) if raised.routine() == Some("exec_stmt_raise") => {
            format!("{}, raised by a function", raised.code())
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_no_answer_of_the_server_is_an_outage() {
        for error in [
            DbErr::Custom("odd".to_owned()),
            DbErr::Query(RuntimeErr::SqlxError(sea_orm::sqlx::Error::PoolTimedOut.into())),
        ] {
            assert!(matches!(Error::from(error), Error::Unavailable(_)));
        }
    }

    #[test]
    fn the_class_of_an_sqlstate_tells_rows_rules_and_outages_apart() {
        for (codes, class) in [
            (["22001", "23514", "54000"], Class::InvalidRow),
            (["P0001", "P0004", "44000"], Class::RuleViolation),
            (["55P03", "57014", "42P01"], Class::Blocked),
            (["40P01", "25006", "57P01"], Class::Unavailable),
            (["08006", "53100", "58030"], Class::Unavailable),
        ] {
            assert_eq!(codes.map(classify_sqlstate), [class; 3], "{codes:?}");
        }
    }
}
