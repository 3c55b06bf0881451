//! `banklink run`: begins to log, and runs the roles to their end.

use tracing::{error, info};

use super::Failure;
use super::flags::{Flags, setting_args};
use super::process::Process;
use super::roles::{Role, Settings};
use super::settings;
use crate::panics;
use crate::telemetry::{self, LevelFilter};

#[derive(clap::Args)]
#[command(args = setting_args(settings::ALL))]
pub(super) struct Args {
    /// Roles to run in this process
    #[arg(value_name = "ROLE")]
    roles: Vec<Role>,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), Failure> {
    let settings = Settings::resolve(flags, &args.roles)?;
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
