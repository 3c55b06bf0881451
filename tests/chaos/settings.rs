//! The settings of every process under test.

use std::collections::BTreeMap;

use testkit::SECRET;

pub(crate) const NAMESPACE: &str = "chaos";
/// The delays before retries. They are also the routing keys of the retry tiers.
pub(crate) const RETRY_SCHEDULE: [&str; 3] = ["1s", "2s", "4s"];
/// How many attempts a message has before it is dead.
pub(crate) const MAX_ATTEMPTS: i64 = RETRY_SCHEDULE.len() as i64 + 1;
/// Low, so that a message that aborts its workers is soon dead; high enough that the other faults do not reach it.
const DELIVERY_LIMIT: &str = "8";

/// The environment of a process that uses this broker and this database.
pub(crate) fn environment(amqp_url: &str, database_url: &str) -> BTreeMap<String, String> {
    let settings = [
        ("AMQP_URL", amqp_url),
        ("DATABASE_URL", database_url),
        ("LEAN_WEBHOOK_SECRETS", SECRET),
        ("BANKLINK_LISTEN", "127.0.0.1:0"),
        ("BANKLINK_ADMIN_LISTEN", "127.0.0.1:0"),
        ("BANKLINK_NAMESPACE", NAMESPACE),
        ("BANKLINK_RETRY_SCHEDULE", &RETRY_SCHEDULE.join(",")),
        ("BANKLINK_DELIVERY_LIMIT", DELIVERY_LIMIT),
        ("BANKLINK_INGRESS_DEADLINE", "2s"),
        ("BANKLINK_LOG_FORMAT", "json"),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
