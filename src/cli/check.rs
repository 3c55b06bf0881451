//! `banklink check`: reports whether RabbitMQ and the database are reachable, declared and migrated, and what is wrong with them. It
//! creates no table and no exchange, and of queues only one for a probe, which it deletes; a missing binding is restored. With `--probe`,
//! it asks a running process instead.

use std::sync::Arc;

use super::check_line::Check;
use super::flags::{Flags, setting_args};
use super::{CommandError, database_diagnosis, diagnosis, management, probe, settings};
use crate::broker::{Connection, Purpose};
use crate::store::{IfMissing, Store};

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(settings::BROKER))]
#[command(args = setting_args(&[&settings::BANKLINK_ADMIN_LISTEN.info]))]
pub(super) struct Args {
    /// Check nothing but that a running process answers 200: one line, exit 1 if it does not. TARGET is a URL, or a path on the
    /// admin address such as /readyz/worker
    #[arg(long, value_name = "TARGET", num_args = 0..=1, default_missing_value = "/readyz")]
    probe: Option<String>,
    /// Also ask RabbitMQ's management API for alarms, and for each queue's arguments, nodes and the policies that change it. URL is
    /// such as http://127.0.0.1:15672; the user is that of AMQP_URL, unless the URL has one
    #[arg(long, value_name = "URL", conflicts_with = "probe")]
    management: Option<String>,
    /// Exit with 1 if there is a warning, too
    #[arg(long, conflicts_with = "probe")]
    strict: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    if let Some(target) = &args.probe {
        let listen = flags.resolve(|values| values.get(&settings::BANKLINK_ADMIN_LISTEN))?;
        let url = probe::url(target, &listen).map_err(CommandError::Usage)?;
        return report(vec![probe::check(&url).await], &args);
    }
    let management = args.management.as_deref().map(management::url).transpose().map_err(CommandError::Usage)?;
    let (url, (address, topology)) = flags.resolve(settings::database_and_broker)?;
    let connected = Connection::connect_once(&address, Arc::clone(&topology), Purpose::Publish).await;
    let mut checks = Vec::from(diagnosis::reached(&connected).await);
    let store = Store::connect(&url, IfMissing::Refuse).await;
    checks.extend(database_diagnosis::checks(&store, &url).await);
    checks.extend(diagnosis::of_broker(&address, connected.as_ref().ok()).await);
    checks.push(database_diagnosis::clock(store.as_ref().ok()).await);
    match management {
        Some(management) => checks.extend(management::checks(management, &address, &topology).await),
        None => checks.push(management::not_asked()),
    }
    if let Ok(store) = store {
        store.close().await;
    }
    report(checks, &args)
}

fn report(checks: Vec<Check>, args: &Args) -> Result<(), CommandError> {
    let passed = checks.iter().all(|check| check.has_passed() && !(args.strict && check.warns()));
    checks.into_iter().try_for_each(|check| check.print(args.json))?;
    if passed { Ok(()) } else { Err(CommandError::AlreadyReported) }
}
