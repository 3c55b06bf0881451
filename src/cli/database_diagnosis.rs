//! What `banklink check` says about the database: whether it can be written and is migrated, what puts commits or the connection at
//! risk, and its clock.

use chrono::TimeDelta;

use super::check_line::Check;
use super::migrate;
use crate::store::{self, Store, outbox_counts};

/// The largest difference between clocks that is not worth a warning.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(1);

/// The lines `database` and `schema`.
pub(super) async fn checks(store: &Result<Store, store::Error>, url: &str) -> [Check; 2] {
    let store = match store {
        Ok(store) => store,
        Err(error) => return [failed("database", error), Check::skipped("schema", "database")],
    };
    let schema = check_schema(store).await;
    let database = if schema.has_passed() {
        check_writable(store, url).await.unwrap_or_else(|error| failed("database", &error))
    } else {
        // The probe writes to tables that may be missing.
        Check::passed("database", "reachable")
    };
    [database, schema]
}

/// Writes to the database, and reports what an operator should know about it.
async fn check_writable(store: &Store, url: &str) -> Result<Check, store::Error> {
    store.probe().await?;
    let mut check = Check::passed("database", "reachable and writable");
    // A subscriber's queue is full, or an event is larger than RabbitMQ accepts.
    let deferred = outbox_counts::deferred(store).await?;
    if deferred > 0 {
        let remedy = "let the subscriber whose queue is full consume, or raise RabbitMQ's max_message_size: the log of \
                      `run relay` names the cause";
        check = check.warn(format!("deferred events: {deferred}"), remedy);
    }
    if let Some(setting) = store.unsafe_commit_setting().await? {
        let warning = format!("the server's synchronous_commit is {setting}, banklink sets it to on");
        let remedy = "set synchronous_commit = on for the server or this database, if other programs write to it";
        check = check.warn(warning, remedy);
    }
    if let Some(warning) = Store::connection_warning(url) {
        check = check
            .warn(warning, "put sslmode=verify-full into DATABASE_URL, and sslrootcert for an authority of your own");
    }
    Ok(check)
}

async fn check_schema(store: &Store) -> Check {
    let steps = match migrate::status(store).await {
        Ok(steps) => steps,
        Err(error) => return Check::failed("schema", error.to_string(), "see the database's log"),
    };
    match migrate::missing(&steps) {
        Some(step) => Check::failed("schema", format!("{step} is missing"), "run `banklink migrate up`"),
        None => Check::passed("schema", "migrated"),
    }
}

/// Compares the clock of this machine with the database's.
pub(super) async fn clock(store: Option<&Store>) -> Check {
    let Some(store) = store else { return Check::skipped("clock", "database") };
    match store.clock_skew().await {
        Ok(None) => Check::passed("clock", "SQLite uses the clock of this machine"),
        Ok(Some(skew)) => compared(skew),
        Err(error) => failed("clock", &error),
    }
}

/// The line about a clock that is ahead by `skew`.
fn compared(skew: TimeDelta) -> Check {
    if skew.abs() <= MAX_CLOCK_SKEW {
        return Check::passed("clock", "within 1 s of the database's clock");
    }
    let warning = format!("the database's clock differs by {} s from this machine's", skew.num_seconds());
    let remedy = "synchronize the clocks of both machines, for example with chrony";
    Check::passed("clock", "compared with the database's").warn(warning, remedy)
}

fn failed(name: &'static str, error: &store::Error) -> Check {
    let remedy = match error {
        store::Error::InvalidRow(_) | store::Error::RuleViolation(_) => {
            "remove the constraint or trigger of your own that rejects every write"
        }
        store::Error::Blocked(_) => {
            "give the user of DATABASE_URL the rights of deploy/postgres/grants.sql; pg_stat_activity shows who holds a lock"
        }
        store::Error::Unavailable(_) => {
            "start the database or correct DATABASE_URL, and see the database's log; `banklink migrate up` creates a file of SQLite"
        }
        store::Error::TimedOut | store::Error::Contended => {
            "see pg_stat_activity for what holds locks, and whether the machine of the database is overloaded"
        }
    };
    Check::failed(name, error.to_string(), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_by_more_than_a_second_is_a_warning() {
        for (skew, warns) in [(1_000, false), (-1_000, false), (1_001, true), (-90_000, true)] {
            let line = compared(TimeDelta::milliseconds(skew)).line();
            assert_eq!((line["warning"].is_string(), line["remedy"].is_string()), (warns, warns), "{line}");
        }
    }
}
