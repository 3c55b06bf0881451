//! `banklink events tail`: prints downstream events. `examples/` has complete subscribers.

use std::time::Duration;

use super::flags::{Flags, setting_args};
use super::{CommandError, output, rehearse, settings};
use crate::broker::{Connection, EventSubscription, Purpose};
use crate::{reconnect, shutdown};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print events as they are published, one JSON object per line
    Tail(Args),
    /// Send made-up events to a subscriber's queue, to prove the subscriber
    #[command(long_about = rehearse::ABOUT)]
    Rehearse(rehearse::Args),
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::BROKER))]
pub(super) struct Args {
    /// Stop after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Accepted for consistency; events are always JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command, flags: &Flags) -> Result<(), CommandError> {
    match command {
        Command::Tail(args) => tail(args, flags).await,
        Command::Rehearse(args) => rehearse::run(args, flags).await,
    }
}

async fn tail(Args { count, json: _ }: Args, flags: &Flags) -> Result<(), CommandError> {
    let (address, topology) = flags.resolve(settings::broker)?;
    let stop = shutdown::on_signal()?;
    let mut remaining = count.unwrap_or(u64::MAX);
    let retrying =
        |cause: &anyhow::Error, delay: Duration| output::print_note(&format!("{cause:#}; retrying in {delay:?}"));
    let subscribe = async || {
        let connection = Connection::connect_once(&address, topology.clone(), Purpose::Subscribe).await?;
        anyhow::Ok((EventSubscription::open(&connection).await?, connection))
    };
    let waiting = format!("waiting for events on {}", topology.events());
    // The first connection must succeed, as an address may be wrong; a lost connection is replaced.
    let mut subscription = subscribe().await?;
    output::print_note(&waiting);
    while remaining > 0 {
        match stop.run_until_cancelled(subscription.0.next()).await {
            // Line breaks of a valid event are outside its strings.
            Some(Ok(event)) => output::line(&String::from_utf8_lossy(&event).replace(['\n', '\r', '\t'], " "))?,
            Some(Err(cause)) => {
                output::print_note(&cause.to_string());
                let replaced = stop.run_until_cancelled(reconnect::retry_until_ok(subscribe, retrying)).await;
                let Some(next) = replaced else { break };
                subscription = next;
                output::print_note(&waiting);
                continue;
            }
            None => break,
        }
        remaining -= 1;
    }
    Ok(())
}
