//! `banklink links`: one bank link as support needs it, or those of a customer.

mod link_format;

use std::sync::Arc;

use anyhow::anyhow;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::connections::{database, open};
use super::flags::{Flags, setting_args};
use super::letter_commands::{actor, letter_format};
use super::{CommandError, output, settings};
use crate::broker::{self, Address, Connection, Purpose, Topology, read_event_log};
use crate::dead_letters::Masking;
use crate::store::letters::{self, Action, Filter};
use crate::store::{Store, link_reads};
use crate::times::{age, time};

/// How far back events are shown: as long as the stream keeps them at least.
const EVENTS_SINCE: TimeDelta = TimeDelta::days(7);

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show one link: each field with the time it is from, its dead letters, its events of the last 7 days
    Show(Show),
    /// List the links of a customer, the oldest first
    List(List),
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(settings::BROKER))]
pub(super) struct Show {
    /// Lean's id of the entity
    #[arg(value_name = "ENTITY_ID")]
    entity_id: Uuid,
    #[command(flatten)]
    display: Display,
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(super) struct List {
    /// Lean's id of the customer
    #[arg(value_name = "CUSTOMER_ID")]
    customer_id: String,
    #[command(flatten)]
    display: Display,
}

#[derive(clap::Args)]
struct Display {
    /// Show customer data; recorded in the history of the link
    #[arg(long)]
    reveal: bool,
    /// Name for the history [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
}

impl Display {
    /// Whether customer data is shown. If so, who sees it goes into the history and the log, before anything is shown.
    async fn masking(&self, store: &Store, links: &[Uuid]) -> Result<Masking, CommandError> {
        if !self.reveal {
            return Ok(Masking::Masked);
        }
        let by = actor(self.by.clone());
        letters::record_access(store, links, Action::Revealed, &by, None).await?;
        warn!(action = "revealed", by = ?by, links = links.len(), "customer data is shown");
        Ok(Masking::Revealed)
    }
}

pub(super) async fn run(command: Command, flags: &Flags) -> Result<(), CommandError> {
    match command {
        Command::Show(args) => show(args, flags).await,
        Command::List(args) => list(args, flags).await,
    }
}

async fn list(args: List, flags: &Flags) -> Result<(), CommandError> {
    let store = database(flags).await?;
    let mut of_customers = link_reads::of_customers(&store, std::slice::from_ref(&args.customer_id)).await?;
    let links = of_customers.remove(&args.customer_id).unwrap_or_default();
    let ids: Vec<Uuid> = links.iter().map(|stored| stored.link.entity_id).collect();
    let masking = args.display.masking(&store, &ids).await?;
    if args.display.json {
        return links.iter().try_for_each(|stored| output::json(&link_format::object(stored, masking)));
    }
    let rows = links.iter().map(|stored| link_format::row(stored, masking));
    output::table(&["ENTITY ID", "BANK", "PERMISSIONS", "LINKED", "RECONNECTED"], rows.collect())
}

async fn show(args: Show, flags: &Flags) -> Result<(), CommandError> {
    let (database_url, broker) = flags.resolve(settings::database_and_broker)?;
    let (entity, display) = (args.entity_id, args.display);
    let store = open(&database_url).await?;
    let stored = link_reads::of_entity(&store, entity).await?;
    let stored = stored.ok_or_else(|| anyhow!("there is no bank link of entity {entity}"))?;
    let letters = letters::page(&store, &Filter { entity: Some(entity), ..Filter::default() }, None).await?;
    let events = events_of(entity, broker).await;
    let masking = display.masking(&store, &[entity]).await?;
    let shown = |event: &Value| link_format::event(event, masking);
    if display.json {
        let mut object = link_format::object(&stored, masking);
        object["instants"] = link_format::instants(&stored.link);
        object["dead_letters"] = letters.iter().map(letter_format::object).collect();
        object["events"] = events.as_ref().map_or(Value::Null, |events| events.iter().map(shown).collect());
        output::json(&object)?;
    } else {
        link_format::print(&stored, masking)?;
        output::lines("\nDead letters")?;
        let rows = letters.iter().map(|letter| {
            let (class, state) = (letter.failure_class.clone(), letter_format::state(letter).to_owned());
            vec![letter.message_id.to_string(), age(letter.last_died_at), state, class]
        });
        output::table(&["MESSAGE ID", "DIED", "STATE", "CLASS"], rows.collect())?;
        output::lines("\nEvents of the last 7 days")?;
        for event in events.iter().flatten() {
            output::json(&shown(event))?;
        }
    }
    // What is known has been shown.
    events.map(drop).map_err(|cause| anyhow!("the events cannot be read: {cause}").into())
}

/// The events about `entity` on the stream, oldest first.
async fn events_of(entity: Uuid, (address, topology): (Address, Arc<Topology>)) -> Result<Vec<Value>, broker::Error> {
    let connection = Connection::connect_once(&address, topology, Purpose::Subscribe).await?;
    let (id, mut events) = (json!(entity), Vec::new());
    let read = |body: &[u8]| {
        let event: Value = serde_json::from_slice(body).unwrap_or_default();
        if event["data"]["entity_id"] == id {
            events.push(event);
        }
    };
    read_event_log(&connection, Utc::now() - EVENTS_SINCE, read).await?;
    Ok(events)
}
