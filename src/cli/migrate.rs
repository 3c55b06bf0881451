//! `banklink migrate`: the schema.

use clap::ValueEnum;

use super::flags::{Asks, Flags};
use super::{Failure, output, settings};
use crate::config::{self, Setting};
use crate::store::{Missing, Store};

#[derive(clap::Args)]
pub(super) struct Args {
    /// up: apply what is missing; down: take everything back, data included; status: show each step
    #[arg(value_enum)]
    direction: Direction,
    /// status as one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Database>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Direction {
    Up,
    Down,
    Status,
}

pub(super) struct Database;

impl Asks for Database {
    const FOR: &'static [&'static Setting] = &[&config::DATABASE_URL];
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut resolver = args.flags.resolver();
    let url = settings::database_url(&mut resolver);
    let url = resolver.finish(url)?;
    let store = Store::open(&url, Missing::Create).await?;
    match args.direction {
        Direction::Up => migration::up(store.connection()).await?,
        Direction::Down => migration::down(store.connection()).await?,
        Direction::Status => {}
    }
    let steps = migration::status(store.connection()).await?;
    store.close().await;
    if args.json {
        for step in steps {
            output::line(&serde_json::json!({ "step": step.name, "applied": step.applied }).to_string())?;
        }
        return Ok(());
    }
    let rows = steps.into_iter().map(|step| {
        let state = if step.applied { "applied" } else { "pending" };
        vec![step.name, state.to_owned()]
    });
    output::table(&["STEP", "STATE"], rows.collect())
}
