//! `banklink topology`: what is declared on the broker.

use clap::ValueEnum;
use serde_json::Value;

use super::flags::{Flags, SettingsGroup};
use super::{Failure, output, settings};
use crate::broker::{Connection, Purpose};
use crate::config::Setting;

#[derive(clap::Args)]
pub(super) struct Args {
    /// apply: declare everything; show: print it, without asking the broker
    #[arg(value_enum)]
    action: Action,
    /// show as RabbitMQ definitions, which its own tools import
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Broker>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    Apply,
    Show,
}

pub(super) struct Broker;

impl SettingsGroup for Broker {
    const FOR: &'static [&'static Setting] = &settings::BROKER;
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut resolver = args.flags.resolver();
    let broker = settings::broker(&mut resolver);
    let (address, topology) = resolver.finish(broker)?;
    let definitions = topology.definitions(address.vhost());
    if matches!(args.action, Action::Apply) {
        Connection::once(&address, topology, Purpose::Publish).await?;
        output::print_note("declared");
    }
    if args.json {
        return output::line(&definitions.to_string());
    }
    for kind in ["exchanges", "queues", "bindings"] {
        let entries = definitions[kind].as_array().into_iter().flatten();
        let rows = entries.map(|entry| match kind {
            "bindings" => vec![text(&entry["source"]), text(&entry["destination"]), text(&entry["routing_key"])],
            _ => {
                let sort = entry.get("type").or_else(|| entry["arguments"].get("x-queue-type")).map(text);
                vec![text(&entry["name"]), sort.unwrap_or_default(), arguments(&entry["arguments"])]
            }
        });
        let header = match kind {
            "exchanges" => ["EXCHANGE", "TYPE", "ARGUMENTS"],
            "queues" => ["QUEUE", "TYPE", "ARGUMENTS"],
            _ => ["FROM EXCHANGE", "TO QUEUE", "KEY"],
        };
        output::table(&header, rows.collect())?;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn arguments(arguments: &Value) -> String {
    let members = arguments.as_object().into_iter().flatten().filter(|(name, _)| *name != "x-queue-type");
    members.map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
}
