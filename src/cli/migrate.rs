//! `banklink migrate`: the database schema.

use std::time::Duration;

use anyhow::anyhow;
use clap::ValueEnum;

use super::flags::{Flags, setting_args};
use super::{CommandError, output, settings};
use crate::store::{self, IfMissing, Store};

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(super) struct Args {
    /// What to do; each ends by listing the steps
    #[arg(value_enum)]
    action: Action,
    /// Print the steps as one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    /// Apply the steps that are pending
    Up,
    /// Revert all steps, which deletes all data
    Down,
    /// Only list the steps
    Status,
}

/// Maximum time to read the state of the schema.
const STATUS_DEADLINE: Duration = Duration::from_secs(60);
/// Maximum time to change the schema. Several steps may build an index over millions of rows. PostgreSQL limits each statement
/// itself; this deadline is for a server that no longer answers.
const CHANGE_DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    let url = flags.resolve(|values| values.get(&settings::DATABASE_URL))?;
    let store = Store::connect(&url, IfMissing::Create).await?;
    match args.action {
        Action::Up => up(&store).await?,
        Action::Down => {
            with_deadline(CHANGE_DEADLINE, migration::down(&store.connection(), &store.transaction_prelude())).await?;
        }
        Action::Status => {}
    }
    let steps = status(&store).await?;
    store.close().await;
    if args.json {
        return steps
            .into_iter()
            .try_for_each(|step| output::json(&serde_json::json!({ "step": step.name, "applied": step.applied })));
    }
    let rows = steps.into_iter().map(|step| {
        let state = if step.applied { "applied" } else { "pending" };
        vec![step.name, state.to_owned()]
    });
    output::table(&["STEP", "STATE"], rows.collect())
}

/// Applies the pending steps.
pub(super) async fn up(store: &Store) -> anyhow::Result<()> {
    with_deadline(CHANGE_DEADLINE, migration::up(&store.connection(), &store.transaction_prelude())).await
}

/// Every step, and whether it is applied.
pub(super) async fn status(store: &Store) -> anyhow::Result<Vec<migration::Step>> {
    with_deadline(STATUS_DEADLINE, migration::status(&store.connection(), &store.transaction_prelude())).await
}

/// Fails if a step is pending. For commands that need all tables.
pub(super) async fn require(store: &Store) -> anyhow::Result<()> {
    match missing(&status(store).await?) {
        Some(step) => Err(anyhow!("the database lacks {step}: run `banklink migrate up`")),
        None => Ok(()),
    }
}

/// The first pending step.
pub(super) fn missing(steps: &[migration::Step]) -> Option<&str> {
    steps.iter().find(|step| !step.applied).map(|step| step.name.as_str())
}

async fn with_deadline<T, E: Into<anyhow::Error>>(
    deadline: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    tokio::time::timeout(deadline, work).await.map_err(|_| store::Error::TimedOut)?.map_err(Into::into)
}
