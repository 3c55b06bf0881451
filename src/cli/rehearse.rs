//! `banklink events rehearse`: sends made-up events to a subscriber's queue, so that a team can prove its subscriber.

use anyhow::Context;
use uuid::Uuid;

use super::flags::{Flags, setting_args};
use super::{CommandError, output, settings};
use crate::broker::{Error, is_own_queue, send_rehearsal};
use crate::domain::rehearsal::rehearsal;

/// The introduction of `--help`.
pub(super) const ABOUT: &str = "\
Sends events about made-up bank links straight to one subscriber's queue: each event twice, revisions in another order, and some \
long after the others. Then it prints what a correct subscriber holds now, one JSON object per link: how many events of each type \
it has handled, and the link's data. Compare that with what yours holds.

The events are marked: the CloudEvents attribute `rehearsal` and the header `x-rehearsal` hold the rehearsal's id, `source` is \
`urn:banklink:rehearsal`, and customer ids begin with `rehearsal-`. Entity ids are made up. Nothing is published to the event \
exchange, so other subscribers see nothing.";

#[derive(clap::Args)]
#[command(args = setting_args(&[&settings::AMQP_URL.info, &settings::BANKLINK_NAMESPACE.info]))]
pub(super) struct Args {
    /// The subscriber's queue, which must exist
    #[arg(long, value_name = "QUEUE", value_parser = queue)]
    queue: String,
    /// Number of made-up links, ten messages each
    #[arg(long, default_value = "4", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// The rehearsal's id; the same id gives the same events. Random by default
    #[arg(long, value_name = "ID", value_parser = id)]
    id: Option<String>,
    /// Send nothing, only print what a correct subscriber would hold
    #[arg(long)]
    dry_run: bool,
    /// Accepted for consistency; the result is always JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    let Args { queue, count, id, dry_run, json: _ } = args;
    let (address, namespace) =
        flags.resolve(|values| (values.get(&settings::AMQP_URL), values.get(&settings::BANKLINK_NAMESPACE)))?;
    if is_own_queue(&namespace, &queue) {
        return Err(CommandError::Usage(format!("{queue} is banklink's own queue; name a subscriber's")));
    }
    let id = id.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    let rehearsal = rehearsal(&id, count.into());
    let messages = rehearsal.events.len();
    if dry_run {
        output::print_note(&format!("dry run of rehearsal {id}: nothing is sent; {messages} messages would be"));
    } else {
        match send_rehearsal(&address, &queue, &id, &rehearsal.events).await {
            Err(Error::Returned) => return Err(anyhow::anyhow!("there is no queue {queue}").into()),
            sent => sent.with_context(|| format!("cannot send to {queue}"))?,
        }
        output::print_note(&format!("sent rehearsal {id}: {messages} messages to {queue}, all confirmed"));
    }
    rehearsal.expected.iter().try_for_each(output::json)
}

/// A queue's name: a short string that is not empty (AMQP 0-9-1, 4.2.5.3).
fn queue(text: &str) -> Result<String, &'static str> {
    let fits = (1..=255).contains(&text.len()) && !text.contains(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("expected a name of 1 to 255 bytes") }
}

fn id(text: &str) -> Result<String, &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fits = (1..=64).contains(&text.len()) && text.chars().all(allowed);
    if fits { Ok(text.to_owned()) } else { Err("expected 1 to 64 letters, digits, dots, hyphens or underscores") }
}
