//! `banklink dead-letters replays`: lists, shows, pauses, resumes and cancels replays.

use std::time::Duration;

use anyhow::anyhow;

use super::replay_command::parse_wait;
use super::replay_run::{Summary, judge, work};
use super::replays_format::{object, print_list, print_replay};
use super::{CommandError, actor, database, open, output, settings, with_publisher};
use crate::cli::flags::{Flags, setting_args};
use crate::dead_letters::{Collect, ReplayView, ReplayWorker, Taken, list, show};
use crate::domain::replay::ReplayState;
use crate::shutdown;
use crate::store::Store;
use crate::store::replays::{self, Change, Replay, totals};

/// How many replays `list` prints by default.
const DEFAULT_LIMIT: u64 = 20;

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// List replays, the newest first
    List(List),
    /// Show one replay, and which of its letters are dead again
    Show(Show),
    /// Pause running replays; the process that works on one finishes its batch
    Pause(ChangeArgs),
    /// Continue replays that are paused, stopped, or running without a process, and wait for their outcomes
    Resume(Resume),
    /// Cancel replays; letters that were not replayed stay dead
    Cancel(ChangeArgs),
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct List {
    /// Only replays in this state
    #[arg(long, value_name = "S", value_parser = state_parser())]
    state: Option<ReplayState>,
    /// Maximum number of replays
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct Show {
    /// Id of the replay
    #[arg(value_name = "ID")]
    id: i64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct ChangeArgs {
    /// Ids of replays
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// Who does it [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print one JSON object per replay
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(settings::BROKER))]
pub(in crate::cli) struct Resume {
    /// Ids of replays, which are worked on one after the other
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// Maximum wait for outcomes; 0 does not wait
    #[arg(long, value_name = "DUR", default_value = "5m", value_parser = parse_wait)]
    wait: Duration,
    /// Name for the letters' history [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print the totals as JSON, one object per replay
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command, flags: &Flags) -> Result<(), CommandError> {
    match command {
        Command::List(args) => {
            let views = list(&database(flags).await?, args.state, args.limit, Collect::All).await?;
            if args.json { views.iter().try_for_each(|view| output::json(&object(view))) } else { print_list(&views) }
        }
        Command::Show(args) => {
            let view =
                show(&database(flags).await?, args.id, Collect::All).await?.ok_or_else(|| no_such_replay(args.id))?;
            if args.json {
                let mut object = object(&view);
                object["dead_again"] = serde_json::json!(view.dead_again);
                return output::json(&object);
            }
            print_replay(&view)
        }
        Command::Pause(args) => {
            let pause = async |store: &Store, id: i64, by: &str| replays::pause(store, id, by).await;
            change(args, flags, pause, "paused").await
        }
        Command::Cancel(args) => {
            let cancel = async |store: &Store, id: i64, by: &str| replays::cancel(store, id, by).await;
            change(args, flags, cancel, "cancelled").await
        }
        Command::Resume(args) => resume(args, flags).await,
    }
}

/// Changes each of the replays, and fails in the end if one of them could not be changed.
async fn change(
    args: ChangeArgs,
    flags: &Flags,
    change: impl AsyncFn(&Store, i64, &str) -> Result<Change, crate::store::Error>,
    changed: &str,
) -> Result<(), CommandError> {
    let store = database(flags).await?;
    let by = actor(args.by);
    let mut failure = None;
    for id in args.ids {
        match change(&store, id, &by).await? {
            Change::Done(replay) if args.json => output::json(&object(&ReplayView::of(replay)))?,
            Change::Done(_) => output::line(&format!("replay {id} is {changed}"))?,
            Change::Refused(replay) => keep_first(&mut failure, ended(&replay)),
            Change::Missing => keep_first(&mut failure, no_such_replay(id)),
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn resume(args: Resume, flags: &Flags) -> Result<(), CommandError> {
    let (url, broker) = flags.resolve(settings::database_and_broker)?;
    let store = open(&url).await?;
    let signals = shutdown::signals()?;
    let by = actor(args.by);
    let resume_all = async |publisher: &_| {
        let worker = ReplayWorker { store: store.clone(), publisher: Clone::clone(publisher) };
        let mut failure = None;
        for id in args.ids {
            let taken = match worker.take(id, Some(&by)).await? {
                Taken::Taken(taken) => taken,
                other => {
                    keep_first(&mut failure, not_taken(id, other));
                    continue;
                }
            };
            let replay = taken.replay();
            if replay.canaries_ignored > 0 && replay.canary_ended_at.is_none() {
                output::print_note(&format!(
                    "{} canaries have failed; the others no longer wait for them",
                    replay.canaries_ignored
                ));
            }
            let (replay, end) = work(&worker, *taken, args.wait, &by, &signals).await?;
            Summary { totals: totals(&replay), replay: Some(id) }.print(args.json)?;
            if let Err(cause) = judge(&replay, &end) {
                keep_first(&mut failure, cause);
            }
            if signals.stop.is_cancelled() {
                break;
            }
        }
        failure.map_or(Ok(()), Err)
    };
    with_publisher(broker, resume_all).await
}

/// Keeps the first failure for the end, and prints the others.
fn keep_first(first: &mut Option<CommandError>, failure: CommandError) {
    match (&first, failure) {
        (Some(_), CommandError::Failed(failure)) => output::print_error(&format!("{failure:#}")),
        (Some(_), _) => {}
        (None, failure) => *first = Some(failure),
    }
}

fn not_taken(id: i64, taken: Taken) -> CommandError {
    match taken {
        Taken::HeldBy(holder) => anyhow!("{holder} works on replay {id}").into(),
        Taken::Ended(replay) | Taken::NotRunning(replay) => ended(&replay),
        Taken::Missing | Taken::Taken(_) => no_such_replay(id),
    }
}

fn ended(replay: &Replay) -> CommandError {
    anyhow!("replay {} is {}", replay.id, replay.state).into()
}

fn no_such_replay(id: i64) -> CommandError {
    anyhow!("there is no replay {id}").into()
}

fn state_parser() -> impl clap::builder::TypedValueParser<Value = ReplayState> {
    use clap::builder::TypedValueParser;
    let names = ReplayState::ALL.map(ReplayState::as_str);
    clap::builder::PossibleValuesParser::new(names).try_map(|name| ReplayState::parse(&name).ok_or("not a state"))
}
