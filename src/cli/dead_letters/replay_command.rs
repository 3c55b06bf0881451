//! `replay`: a dry run, or the real thing with a progress bar and a summary.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{ActionArgs, DatabaseAndBroker, Failure, Selection, all_there, ask, open, who};
use crate::broker::Publisher;
use crate::cli::flags::Flags;
use crate::cli::publisher_session::PublisherSession;
use crate::cli::{output, settings};
use crate::dead_letters::{DryRun, DryRunResult, ReplayEnd, ReplayOptions, ReplayTotals};
use crate::store::Store;
use crate::store::dead_letters::{self, Selected};
use crate::{dead_letters as door, shutdown};

/// Letters rehearsed at a time: their bodies are in memory.
const REHEARSE: usize = 500;
/// Letters that a dry run shows one by one to a person.
const ROWS: usize = 100;

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Say what it would do, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How many a second, at most: 50, or 50/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<u32>,
    /// Go on only once the first N have ended well
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    canary: Option<u32>,
    /// Stop when more than that share of those that ended is dead again
    #[arg(long, value_name = "PCT", value_parser = percent)]
    stop_on_failure: Option<f64>,
    /// How long to wait for outcomes; 0: not at all
    #[arg(long, value_name = "DUR", default_value = "5m", value_parser = duration)]
    wait: Duration,
    #[command(flatten)]
    manner: ActionArgs,
    #[command(flatten)]
    flags: Flags<DatabaseAndBroker>,
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let named = args.selection.ids.len();
    let filter = args.selection.filter()?;
    let mut resolver = args.flags.resolver();
    let (url, broker) = (settings::database_url(&mut resolver), settings::broker(&mut resolver));
    let (url, (address, topology)) = resolver.finish(url.zip(broker))?;
    let store = open(&url).await?;
    all_there(&store, &filter).await?;
    let chosen = dead_letters::select_dead(&store, &filter).await?;
    if args.dry_run {
        return rehearse(&store, &chosen, args.manner.json).await;
    }
    ask(&format!("{} dead letters will be replayed.", chosen.len()), args.manner.yes || named > 0)?;
    let plan = ReplayOptions {
        rate: args.rate,
        canary: args.canary.map(|canary| canary as usize),
        stop_on_failure: args.stop_on_failure,
        wait: args.wait,
        by: who(args.manner.by),
    };
    let wire = PublisherSession::open(address, topology).await?;
    let ended = replay(&store, wire.publisher(), &chosen, &plan).await;
    wire.close().await;
    let (mut tally, end) = ended?;
    let passed_over = named.saturating_sub(chosen.len());
    tally.selected += passed_over;
    tally.skipped += passed_over;
    summarise(&tally, &end, args.manner.json)
}

async fn replay(
    store: &Store,
    publisher: &Publisher,
    chosen: &[Selected],
    plan: &ReplayOptions,
) -> Result<(ReplayTotals, ReplayEnd), Failure> {
    let stop = shutdown::on_signal()?;
    let bar = ProgressBar::new(chosen.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {msg}") {
        bar.set_style(style);
    }
    let told = |tally: &ReplayTotals| {
        bar.set_position((tally.replayed + tally.skipped) as u64);
        let ReplayTotals { applied, stale, ignored, dead, .. } = tally;
        bar.set_message(format!("applied {applied} stale {stale} ignored {ignored} dead {dead}"));
    };
    let ended = door::replay(store, publisher, chosen, plan, &stop, told).await;
    bar.finish_and_clear();
    Ok(ended?)
}

fn summarise(tally: &ReplayTotals, end: &ReplayEnd, json: bool) -> Result<(), Failure> {
    let ReplayTotals { selected, replayed, skipped, applied, stale, ignored, dead, under_way } = tally;
    output::line(&if json {
        serde_json::to_string(tally).unwrap_or_default()
    } else {
        format!(
            "selected {selected}  replayed {replayed}  skipped {skipped}\n\
             applied {applied}  stale {stale}  ignored {ignored}  dead {dead}  under way {under_way}"
        )
    })?;
    let unresolved = dead + under_way;
    let why = match end {
        ReplayEnd::Finished if unresolved == 0 => return Ok(()),
        ReplayEnd::Finished => format!("{dead} are dead again and {under_way} still under way"),
        ReplayEnd::Interrupted => "stopped between letters; the same command goes on where it stopped".to_owned(),
        ReplayEnd::CanaryFailed => "not all of the first ones ended well; the others were left alone".to_owned(),
        ReplayEnd::TooManyFailed => "too many were dead again; the others were left alone".to_owned(),
        ReplayEnd::BrokerAway(cause) => format!("{cause}; the same command goes on where it stopped"),
    };
    Err(anyhow::anyhow!(why).into())
}

async fn rehearse(store: &Store, chosen: &[Selected], json: bool) -> Result<(), Failure> {
    let mut rehearsal = DryRun::new(store.clone());
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    let mut rows = Vec::new();
    for chosen in dead_letters::batches(chosen, REHEARSE) {
        let letters = dead_letters::fetch(store, chosen).await?;
        for rehearsed in rehearsal.run(&letters).await? {
            *counts.entry(rehearsed.action).or_default() += 1;
            if json {
                output::line(&object(rehearsed).to_string())?;
            } else if rows.len() < ROWS {
                let what = rehearsed.failure.unwrap_or_else(|| rehearsed.events.join(", "));
                rows.push(vec![rehearsed.message_id.to_string(), rehearsed.action.to_owned(), what]);
            }
        }
    }
    if json {
        return Ok(());
    }
    output::table_for_a_screen(&["MESSAGE ID", "WOULD", "EVENTS OR FAILURE"], rows)?;
    if chosen.len() > ROWS {
        output::line(&format!("… and {} more, which --json tells", chosen.len() - ROWS))?;
    }
    let counts = counts.into_iter().map(|(would, count)| format!("{would} {count}")).collect::<Vec<_>>();
    output::line(&format!("of {}, that many would: {}", chosen.len(), counts.join("  ")))
}

fn object(rehearsed: DryRunResult) -> serde_json::Value {
    let DryRunResult { message_id, action, failure, events } = rehearsed;
    let mut object = json!({ "message_id": message_id, "would": action, "events": events });
    if let Some(failure) = failure {
        object["failure"] = failure.into();
    }
    object
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .ok()
        .filter(|rate| (1..=1_000_000).contains(rate))
        .ok_or_else(|| "1 to 1000000, as in 50/s".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|percent| (0.0..=100.0).contains(percent)).ok_or_else(|| "0 to 100".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text).map_err(|error| error.to_string()) }
}
