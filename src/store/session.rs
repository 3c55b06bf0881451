//! The settings of a PostgreSQL session, and how they get there.
//!
//! A direct connection takes them when it starts. Behind a pooler in transaction mode, such as PgBouncer, a connection of ours is
//! another session of the server in each transaction: it takes no settings at its start, a setting of the session would reach
//! others, and prepared statements of others are there. So each transaction begins with its own settings, and without prepared
//! statements. The URL parameter `statement-cache-capacity=0` says that there is a pooler (docs/CONTRACT.md#3-settings).

use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;
use url::Url;

use super::Deadlines;

/// Settings for the planner; docs/ARCHITECTURE.md says what they do and cost.
const PLANNER_SETTINGS: [(&str, &str); 3] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    // The statements are so short that compiling them costs more than it saves.
    ("jit", "off"),
];
/// The server notices within half a minute that a client's host has vanished, and frees its locks.
const KEEPALIVE_SETTINGS: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];
/// Makes commits wait for the disk, whatever the server, the database or the role is set to: an acknowledged webhook must survive a
/// crash. A stricter setting is left alone. The argument is whether the setting is local to the transaction.
pub(super) const COMMIT_DURABLY: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')";

/// Whether `url` says that there is a pooler in transaction mode.
pub(super) fn is_pooled(url: &str) -> bool {
    let without_cache = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        name == "statement-cache-capacity" && value == "0"
    };
    Url::parse(url).is_ok_and(|url| url.query_pairs().any(without_cache))
}

/// `options` with the settings of a direct connection; behind a pooler, without any that it would refuse.
pub(super) fn with_settings(options: PgConnectOptions, url: &str, deadlines: Deadlines) -> PgConnectOptions {
    if is_pooled(url) {
        return options.extra_float_digits(None);
    }
    options.options(PLANNER_SETTINGS).options(KEEPALIVE_SETTINGS).options(timeouts(deadlines))
}

/// What each transaction begins with; empty on a direct connection.
pub(super) fn transaction_prelude(url: &str, deadlines: Deadlines) -> String {
    if !is_pooled(url) {
        return String::new();
    }
    let timeouts = timeouts(deadlines);
    let settings = PLANNER_SETTINGS.iter().copied().chain(timeouts.iter().map(|(name, value)| (*name, value.as_str())));
    let settings: Vec<String> = settings.map(|(name, value)| format!("SET LOCAL {name} = '{value}'")).collect();
    let durably = COMMIT_DURABLY.replace("false", "true");
    format!("DEALLOCATE ALL; {}; {durably}", settings.join("; "))
}

fn timeouts(deadlines: Deadlines) -> [(&'static str, String); 3] {
    let milliseconds = |deadline: Duration| format!("{}ms", deadline.as_millis());
    [
        ("lock_timeout", milliseconds(deadlines.lock)),
        ("statement_timeout", milliseconds(deadlines.statement)),
        ("idle_in_transaction_session_timeout", milliseconds(deadlines.idle_in_transaction)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_brings_its_settings_only_behind_a_pooler() {
        let prelude = |url| transaction_prelude(url, Deadlines::default());
        assert_eq!(prelude("postgres://h/d"), "");
        let pooled = prelude("postgres://h/d?sslmode=disable&statement-cache-capacity=0");
        assert!(pooled.starts_with("DEALLOCATE ALL; SET LOCAL enable_seqscan = 'off';"), "{pooled}");
        assert!(pooled.contains("SET LOCAL lock_timeout = '2000ms'") && pooled.contains("'on', true)"), "{pooled}");
    }
}
