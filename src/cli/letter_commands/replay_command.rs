//! `replay`: a dry run, or a replay with a progress bar and totals.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{ActionArgs, CommandError, Selection, actor, confirm, open, output, require_all, settings, with_publisher};
use crate::broker::Publisher;
use crate::cli::flags::{Flags, setting_args};
use crate::dead_letters::{DryRun, DryRunResult, ReplayEnd, ReplayOptions, ReplayTotals, replay};
use crate::shutdown;
use crate::store::Store;
use crate::store::letters::{self, Selected};

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
    let options = ReplayOptions {
        rate: args.rate,
        canary: args.canary.map(|canary| canary as usize),
        stop_on_failure: args.stop_on_failure,
        wait: args.wait,
        by: actor(args.action.by),
    };
    let replay = async |publisher: &Publisher| replay_with_progress(&store, publisher, &selected, &options).await;
    let (mut totals, end) = with_publisher(broker, replay).await?;
    // Letters named by id that are not dead count as skipped.
    let not_dead = named.saturating_sub(selected.len());
    totals.selected += not_dead;
    totals.skipped += not_dead;
    summarise(&totals, &end, args.action.json)
}

async fn replay_with_progress(
    store: &Store,
    publisher: &Publisher,
    selected: &[Selected],
    options: &ReplayOptions,
) -> Result<(ReplayTotals, ReplayEnd), CommandError> {
    let stop = shutdown::on_signal()?;
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(selected.len() as u64).with_style(style);
    let on_progress = |totals: &ReplayTotals| {
        bar.set_position((totals.replayed + totals.skipped) as u64);
        let ReplayTotals { applied, stale, ignored, dead, .. } = totals;
        bar.set_message(format!("applied {applied} stale {stale} ignored {ignored} dead {dead}"));
    };
    let replayed = replay(store, publisher, selected, options, &stop, on_progress).await;
    bar.finish_and_clear();
    Ok(replayed?)
}

fn summarise(totals: &ReplayTotals, end: &ReplayEnd, json: bool) -> Result<(), CommandError> {
    let ReplayTotals { selected, replayed, skipped, applied, stale, ignored, dead, under_way } = totals;
    if json {
        output::json(totals)?;
    } else {
        output::line(&format!("selected {selected}  replayed {replayed}  skipped {skipped}"))?;
        let outcomes = format!("applied {applied}  stale {stale}  ignored {ignored}  dead {dead}");
        output::line(&format!("{outcomes}  under way {under_way}"))?;
    }
    Err(match end {
        ReplayEnd::Completed if dead + under_way == 0 => return Ok(()),
        ReplayEnd::Completed => anyhow!("{dead} letters are dead again and {under_way} are still under way"),
        ReplayEnd::Interrupted => anyhow!("interrupted; run the same command again to continue"),
        ReplayEnd::CanaryFailed => anyhow!("not every canary was resolved; the other letters were not replayed"),
        ReplayEnd::TooManyFailures => anyhow!("too many letters are dead again; the others were not replayed"),
        ReplayEnd::PublishFailed(cause) => anyhow!("{cause}; run the same command again to continue"),
    }
    .into())
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

fn parse_wait(text: &str) -> Result<Duration, humantime::DurationError> {
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) }
}
