//! `replay`: a dry run, or a new replay, which is worked on in the foreground.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::replay_run::{Summary, judge, work};
use super::{ActionArgs, CommandError, Selection, actor, confirm, open, output, require_all, settings, with_publisher};
use crate::broker::Publisher;
use crate::cli::flags::{Flags, setting_args};
use crate::dead_letters::{DryRun, DryRunResult, ReplayWorker, describe};
use crate::shutdown;
use crate::store::Store;
use crate::store::letters::{self, Selected};
use crate::store::replays::{NewReplay, totals};

/// Maximum letters in memory during a dry run.
const DRY_RUN_BATCH: usize = 500;
/// Maximum rows in the table of a dry run.
const MAX_DRY_RUN_ROWS: usize = 100;

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(settings::BROKER))]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Print what a replay would do, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Maximum letters per second: 50 or 50/s
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    rate: Option<u32>,
    /// Replay N letters first; replay the others only if all N are resolved
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    canary: Option<u32>,
    /// Stop when more than this percentage of the letters with an outcome is dead again
    #[arg(long, value_name = "PCT", value_parser = parse_percent)]
    stop_on_failure: Option<f64>,
    /// Maximum wait for outcomes; 0 does not wait
    #[arg(long, value_name = "DUR", default_value = "5m", value_parser = parse_wait)]
    wait: Duration,
    /// Why; kept with the replay
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    action: ActionArgs,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    let named = args.selection.ids.len();
    let filter = args.selection.filter()?;
    let (url, broker) = flags.resolve(settings::database_and_broker)?;
    let store = open(&url).await?;
    require_all(&store, &filter).await?;
    let selected = letters::select_dead(&store, &filter).await?;
    if args.dry_run {
        return dry_run(&store, &selected, args.action.json).await;
    }
    confirm(&format!("{} dead letters will be replayed.", selected.len()), args.action.yes || named > 0)?;
    let by = actor(args.action.by);
    let new = NewReplay {
        by: by.clone(),
        reason: args.reason,
        selection: describe(&filter),
        rate: args.rate,
        canary: args.canary,
        stop_on_failure: args.stop_on_failure,
    };
    let signals = shutdown::signals()?;
    let replay = async |publisher: &Publisher| {
        if selected.is_empty() {
            return Ok(None);
        }
        let worker = ReplayWorker { store: store.clone(), publisher: publisher.clone() };
        let taken = worker.create(&new, &selected).await?;
        work(&worker, taken, args.wait, &by, &signals).await.map(Some)
    };
    let worked = with_publisher(broker, replay).await?;
    let mut totals = worked.as_ref().map(|(replay, _)| totals(replay)).unwrap_or_default();
    // Letters named by id that are not dead count as skipped.
    let not_dead = named.saturating_sub(selected.len());
    totals.selected += not_dead;
    totals.skipped += not_dead;
    let replay = worked.as_ref().map(|(replay, _)| replay.id);
    Summary { totals, replay }.print(args.action.json)?;
    worked.map_or(Ok(()), |(replay, end)| judge(&replay, &end))
}

async fn dry_run(store: &Store, selected: &[Selected], json: bool) -> Result<(), CommandError> {
    let mut dry_run = DryRun::default();
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut rows = Vec::new();
    for batch in letters::batches(selected, DRY_RUN_BATCH) {
        let letters = letters::load_selected(store, batch).await?;
        for result in dry_run.run(store, &letters).await? {
            *counts.entry(result.action.as_str()).or_default() += 1;
            if json {
                output::json(&object(&result))?;
            } else if rows.len() < MAX_DRY_RUN_ROWS {
                rows.push(vec![result.message_id.to_string(), result.action.as_str().to_owned(), result.detail()]);
            }
        }
    }
    if json {
        return Ok(());
    }
    output::fitted_table(&["MESSAGE ID", "WOULD", "EVENTS OR FAILURE"], rows)?;
    if selected.len() > MAX_DRY_RUN_ROWS {
        output::line(&format!("… and {} more; --json lists all", selected.len() - MAX_DRY_RUN_ROWS))?;
    }
    let counts: Vec<String> = counts.into_iter().map(|(action, count)| format!("{action} {count}")).collect();
    output::line(&format!("{} letters would: {}", selected.len(), counts.join("  ")))
}

fn object(result: &DryRunResult) -> serde_json::Value {
    let DryRunResult { message_id, action, failure, events } = result;
    let mut object = json!({ "message_id": message_id, "would": action.as_str(), "events": events });
    if let Some(failure) = failure {
        object["failure"] = json!(failure);
    }
    object
}

fn parse_rate(text: &str) -> Result<u32, &'static str> {
    let rate = text.strip_suffix("/s").unwrap_or(text).parse().ok();
    rate.filter(|rate| (1..=1_000_000).contains(rate)).ok_or("expected 1 to 1000000, such as 50/s")
}

fn parse_percent(text: &str) -> Result<f64, &'static str> {
    let percent = text.strip_suffix('%').unwrap_or(text).parse().ok();
    percent.filter(|percent| (0.0..=100.0).contains(percent)).ok_or("expected 0 to 100")
}

pub(super) fn parse_wait(text: &str) -> Result<Duration, humantime::DurationError> {
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) }
}
