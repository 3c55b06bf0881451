//! `banklink check`: reports whether RabbitMQ and the database are reachable, declared and migrated. Creates no
//! exchange, queue or table; a missing binding is restored. With `--probe`, asks a running process instead.

use std::fmt::Write;
use std::sync::Arc;

use super::flags::{Flags, setting_args};
use super::{CommandError, migrate, output, probe, settings};
use crate::broker::{Address, Connection, Purpose, Topology};
use crate::store::{self, IfMissing, Store, outbox_counts};

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(settings::BROKER))]
#[command(args = setting_args(&[&settings::BANKLINK_ADMIN_LISTEN.info]))]
pub(super) struct Args {
    /// Check nothing but that a running process answers 200: one line, exit 1 if it does not. TARGET is a URL, or a path on the
    /// admin address such as /readyz/worker
    #[arg(long, value_name = "TARGET", num_args = 0..=1, default_missing_value = "/readyz")]
    probe: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// The state of what was checked, or why it failed.
type CheckResult = Result<String, String>;

const SKIPPED: &str = "not checked: the server could not be reached";

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    if let Some(target) = args.probe {
        let listen = flags.resolve(|values| values.get(&settings::BANKLINK_ADMIN_LISTEN))?;
        let url = probe::url(&target, &listen).map_err(CommandError::Usage)?;
        return report(&[("probe", probe::ask(&url).await)], args.json);
    }
    let (url, (address, topology)) = flags.resolve(settings::database_and_broker)?;
    let (broker, topology) = check_broker(&address, topology).await;
    let (database, schema) = check_database(&url).await;
    report(&[("broker", broker), ("topology", topology), ("database", database), ("schema", schema)], args.json)
}

async fn check_broker(address: &Address, topology: Arc<Topology>) -> (CheckResult, CheckResult) {
    match Connection::connect_once(address, topology, Purpose::Publish).await {
        Ok(connection) => {
            let compared = connection.compare().await;
            let declared = compared.map(|()| "declared".to_owned()).map_err(|error| error.to_string());
            (Ok("reachable".to_owned()), declared)
        }
        Err(error) => (Err(error.to_string()), Err(SKIPPED.to_owned())),
    }
}

async fn check_database(url: &str) -> (CheckResult, CheckResult) {
    let store = match Store::connect(url, IfMissing::Refuse).await {
        Ok(store) => store,
        Err(error) => return (Err(error.to_string()), Err(SKIPPED.to_owned())),
    };
    let schema = check_schema(&store).await;
    let database = match &schema {
        Ok(_) => check_writable(&store, url).await,
        // The probe writes to tables that may be missing.
        Err(_) => Ok("reachable".to_owned()),
    };
    store.close().await;
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

fn report(checks: &[(&str, CheckResult)], json: bool) -> Result<(), CommandError> {
    let passed = checks.iter().all(|(_, result)| result.is_ok());
    for (check, result) in checks {
        let (state, detail) = match result {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("failed", detail),
        };
        if json {
            output::json(&serde_json::json!({ "check": check, "state": state, "detail": detail }))?;
        } else {
            output::line(&format!("{check:<10} {state:<8} {detail}"))?;
        }
    }
    if passed { Ok(()) } else { Err(CommandError::AlreadyReported) }
}
