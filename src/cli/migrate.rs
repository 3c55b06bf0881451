//! `banklink migrate`: the schema.

use std::time::Duration;

use anyhow::anyhow;
use clap::ValueEnum;

use super::flags::{Flags, SettingsGroup};
use super::{Failure, output, settings};
use crate::config::{self, Setting};
use crate::store::{self, IfMissing, Store};

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

impl SettingsGroup for Database {
    const FOR: &'static [&'static Setting] = &[&config::DATABASE_URL];
}

/// How long the schema may take to be looked at.
const LOOK: Duration = Duration::from_secs(60);
/// How long it may take to be changed: there may be an index to be made over millions of rows, by several steps. PostgreSQL
/// ends by itself what one statement takes too long for; this is for a server that says nothing any more.
const CHANGE: Duration = Duration::from_secs(3 * 60 * 60);

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut resolver = args.flags.resolver();
    let url = settings::database_url(&mut resolver);
    let url = resolver.finish(url)?;
    let store = Store::connect(&url, IfMissing::Create).await?;
    match args.direction {
        Direction::Up => up(&store).await?,
        Direction::Down => with_deadline(CHANGE, migration::down(store.connection())).await?,
        Direction::Status => {}
    }
    let steps = status(&store).await?;
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

/// Applies what is missing.
pub(super) async fn up(store: &Store) -> anyhow::Result<()> {
    with_deadline(CHANGE, migration::up(store.connection())).await
}

/// Every step, and whether it is applied.
pub(super) async fn status(store: &Store) -> anyhow::Result<Vec<migration::Step>> {
    with_deadline(LOOK, migration::status(store.connection())).await
}

/// Makes sure that no step is missing, for those who need the tables.
///
/// # Errors
/// When one is: which, and how to apply it.
pub(super) async fn require(store: &Store) -> anyhow::Result<()> {
    match missing(&status(store).await?) {
        Some(step) => Err(anyhow!("the database lacks {step}: run `banklink migrate up`")),
        None => Ok(()),
    }
}

/// The first step that is not applied.
pub(super) fn missing(steps: &[migration::Step]) -> Option<&str> {
    steps.iter().find(|step| !step.applied).map(|step| step.name.as_str())
}

async fn with_deadline<T, E: Into<anyhow::Error>>(
    deadline: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    tokio::time::timeout(deadline, work).await.map_err(|_| store::Error::TimedOut)?.map_err(Into::into)
}
