//! `banklink events tail`: downstream events as they come; also the smallest subscriber one can learn from.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::flags::{Flags, SettingsGroup};
use super::{Failure, output, settings};
use crate::broker::{Connection, EventSubscription, Purpose};
use crate::config::Setting;
use crate::{reconnect, shutdown};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print events as they come, one JSON object a line
    Tail(Args),
}

#[derive(clap::Args)]
pub(super) struct Args {
    /// End after that many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Accepted for uniformity: events are JSON anyway
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Broker>,
}

pub(super) struct Broker;

impl SettingsGroup for Broker {
    const FOR: &'static [&'static Setting] = &settings::BROKER;
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Tail(Args { count, json: _, flags }) = command;
    let mut resolver = flags.resolver();
    let broker = settings::broker(&mut resolver);
    let (address, topology) = resolver.finish(broker)?;
    let stop = shutdown::on_signal()?;
    let mut left = count.unwrap_or(u64::MAX);
    let told = |cause: &anyhow::Error, pause: Duration| output::print_note(&format!("{cause:#}; again in {pause:?}"));
    let subscribe = async || {
        let link = Connection::once(&address, topology.clone(), Purpose::Consume).await?;
        anyhow::Ok((EventSubscription::open(&link).await?, link))
    };
    // A broker that cannot be reached at the start is somebody's mistake; one that goes away is waited for.
    let mut subscription = subscribe().await?;
    loop {
        output::print_note(&format!("waiting for events on {}", topology.events()));
        print(&mut subscription.0, &mut left, &stop).await?;
        if left == 0 {
            return Ok(());
        }
        let Some(again) = stop.run_until_cancelled(reconnect::retry_until_ok(subscribe, told)).await else {
            return Ok(());
        };
        subscription = again;
    }
}

/// Prints events until enough have come, the process is to stop, or the connection is lost.
async fn print(tail: &mut EventSubscription, left: &mut u64, stop: &CancellationToken) -> Result<(), Failure> {
    while *left > 0 {
        match stop.run_until_cancelled(tail.next()).await {
            Some(Ok(event)) => output::line(&String::from_utf8_lossy(&event))?,
            Some(Err(cause)) => {
                output::print_note(&cause.to_string());
                return Ok(());
            }
            None => return Ok(()),
        }
        *left -= 1;
    }
    Ok(())
}
