//! `banklink run`: begins to log, and runs the roles to their end.

use tracing::{error, info};

use super::Failure;
use super::flags::{Flags, SettingsGroup};
use super::process::Process;
use super::roles::{Role, Settings};
use crate::config::{self, Setting};
use crate::panics;
use crate::telemetry::{self, LevelFilter};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The roles to run in this process
    #[arg(value_name = "ROLE")]
    roles: Vec<Role>,
    #[command(flatten)]
    flags: Flags<Run>,
}

pub(super) struct Run;

impl SettingsGroup for Run {
    const FOR: &'static [&'static Setting] = &config::ALL;
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let settings = Settings::resolve(args.flags.resolver(), &args.roles)?;
    let (format, endpoint) = settings.telemetry.clone();
    let telemetry = telemetry::start(format, LevelFilter::INFO, endpoint.as_deref()).map_err(Failure::Usage)?;
    panics::log_locations();
    let ended = async { Process::open(settings).await?.run().await }.await;
    match &ended {
        Ok(()) => info!("stopped"),
        Err(cause) => error!("{cause:#}"),
    }
    telemetry.finish();
    ended.map_err(|_| Failure::AlreadyReported)
}
