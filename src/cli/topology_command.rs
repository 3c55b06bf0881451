//! `banklink topology`: the exchanges, queues and bindings on RabbitMQ.

use clap::ValueEnum;
use serde_json::Value;

use super::flags::{Flags, setting_args};
use super::{CommandError, output, settings};
use crate::broker::{Connection, Purpose};

#[derive(clap::Args)]
#[command(args = setting_args(settings::BROKER))]
pub(super) struct Args {
    /// What to do
    #[arg(value_enum)]
    action: Action,
    /// Print RabbitMQ definitions, which RabbitMQ's own tools can import
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    /// Declare everything, then list it
    Apply,
    /// List it without connecting to RabbitMQ
    Show,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    let (address, topology) = flags.resolve(settings::broker)?;
    let definitions = topology.definitions(address.vhost());
    if matches!(args.action, Action::Apply) {
        Connection::connect_once(&address, topology, Purpose::Publish).await?.declare().await?;
        output::print_note("declared");
    }
    if args.json {
        return output::json(&definitions);
    }
    let rows = |kind: &str, row: fn(&Value) -> Vec<String>| {
        definitions[kind].as_array().into_iter().flatten().map(row).collect::<Vec<_>>()
    };
    output::table(&["EXCHANGE", "TYPE", "ARGUMENTS"], rows("exchanges", declaration))?;
    output::table(&["QUEUE", "TYPE", "ARGUMENTS"], rows("queues", declaration))?;
    output::table(&["FROM EXCHANGE", "TO QUEUE", "KEY"], rows("bindings", binding))
}

fn declaration(entry: &Value) -> Vec<String> {
    let arguments = &entry["arguments"];
    let kind = entry.get("type").or_else(|| arguments.get("x-queue-type")).map(text).unwrap_or_default();
    let others = arguments.as_object().into_iter().flatten().filter(|(name, _)| *name != "x-queue-type");
    let others = others.map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>();
    vec![text(&entry["name"]), kind, others.join(" ")]
}

fn binding(entry: &Value) -> Vec<String> {
    ["source", "destination", "routing_key"].map(|name| text(&entry[name])).into()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
