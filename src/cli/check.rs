//! `banklink check`: reports whether RabbitMQ and the database are reachable, declared and migrated, and what is wrong with them. It
//! creates no table, exchange or queue but one that ends with its connection; a missing binding is restored. With `--probe`, it asks
//! a running process instead.

use std::fmt::Write;
use std::sync::Arc;

use super::check_line::{Check, CheckResult, SKIPPED};
use super::flags::{Flags, setting_args};
use super::{CommandError, diagnosis, management, migrate, probe, settings};
use crate::broker::{Connection, Purpose};
use crate::store::{self, IfMissing, Store, outbox_counts};

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(settings::BROKER))]
#[command(args = setting_args(&[&settings::BANKLINK_ADMIN_LISTEN.info]))]
pub(super) struct Args {
    /// Check nothing but that a running process answers 200: one line, exit 1 if it does not. TARGET is a URL, or a path on the
    /// admin address such as /readyz/worker
    #[arg(long, value_name = "TARGET", num_args = 0..=1, default_missing_value = "/readyz")]
    probe: Option<String>,
    /// Also ask RabbitMQ's management API for alarms, and for each queue's nodes and the policies that change it. URL is such as
    /// http://127.0.0.1:15672; the user is that of AMQP_URL, unless the URL has one
    #[arg(long, value_name = "URL", conflicts_with = "probe")]
    management: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    if let Some(target) = args.probe {
        let listen = flags.resolve(|values| values.get(&settings::BANKLINK_ADMIN_LISTEN))?;
        let url = probe::url(&target, &listen).map_err(CommandError::Usage)?;
        return report(vec![Check::new("probe", probe::ask(&url).await)], args.json);
    }
    let management = args.management.as_deref().map(management::url).transpose().map_err(CommandError::Usage)?;
    let (url, (address, topology)) = flags.resolve(settings::database_and_broker)?;
    let mut checks = Vec::new();
    let connection = match Connection::connect_once(&address, Arc::clone(&topology), Purpose::Publish).await {
        Ok(connection) => {
            let compared = connection.compare().await;
            let declared = compared.map(|()| "declared".to_owned()).map_err(|error| error.to_string());
            checks.extend([Check::new("broker", Ok("reachable".to_owned())), Check::new("topology", declared)]);
            Some(connection)
        }
        Err(error) => {
            let skipped = Check::new("topology", Err(SKIPPED.to_owned()));
            checks.extend([Check::new("broker", Err(error.to_string())), skipped]);
            None
        }
    };
    let store = Store::connect(&url, IfMissing::Refuse).await;
    let (database, schema) = match &store {
        Ok(store) => check_database(store, &url).await,
        Err(error) => (Err(error.to_string()), Err(SKIPPED.to_owned())),
    };
    checks.extend([Check::new("database", database), Check::new("schema", schema)]);
    checks.extend(diagnosis::of_broker(&address, connection.as_ref()).await);
    checks.push(diagnosis::clock(store.as_ref().ok()).await);
    if let Some(management) = management {
        checks.extend(management::checks(management, &address, &topology).await);
    }
    if let Ok(store) = store {
        store.close().await;
    }
    report(checks, args.json)
}

async fn check_database(store: &Store, url: &str) -> (CheckResult, CheckResult) {
    let schema = check_schema(store).await;
    let database = match &schema {
        Ok(_) => check_writable(store, url).await,
        // The probe writes to tables that may be missing.
        Err(_) => Ok("reachable".to_owned()),
    };
    (database.map_err(|error| error.to_string()), schema)
}

/// Writes to the database, and reports what an operator should know about it.
async fn check_writable(store: &Store, url: &str) -> Result<String, store::Error> {
    store.probe().await?;
    let mut detail = "reachable and writable".to_owned();
    // A subscriber's queue is full, or an event is larger than RabbitMQ accepts.
    let deferred = outbox_counts::deferred(store).await?;
    if deferred > 0 {
        write!(detail, "; deferred events: {deferred}").unwrap_or_default();
    }
    if let Some(setting) = store.unsafe_commit_setting().await? {
        write!(detail, "; the server's synchronous_commit is {setting}, banklink sets it to on").unwrap_or_default();
    }
    if let Some(warning) = Store::connection_warning(url) {
        write!(detail, "; warning: {warning}").unwrap_or_default();
    }
    Ok(detail)
}

async fn check_schema(store: &Store) -> CheckResult {
    let steps = migrate::status(store).await.map_err(|error| error.to_string())?;
    match migrate::missing(&steps) {
        Some(step) => Err(format!("{step} is missing: run `banklink migrate up`")),
        None => Ok("migrated".to_owned()),
    }
}

fn report(checks: Vec<Check>, json: bool) -> Result<(), CommandError> {
    let passed = checks.iter().all(Check::has_passed);
    checks.into_iter().try_for_each(|check| check.print(json))?;
    if passed { Ok(()) } else { Err(CommandError::AlreadyReported) }
}
