//! Many dead letters: the time to record, count, list and replay them, on both databases.
//!
//! The replay is compared with the drain of as many fresh webhooks in the same run. It should reach at least half of
//! that rate, although each letter is claimed, confirmed and resolved in addition to being handled.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::args::Database;
use crate::bench::Bench;
use crate::drain;
use crate::fill::{fill, fill_dead};
use crate::process::{self, Running};
use crate::progress;
use crate::report::{Figure, format_value};
use crate::sandbox::Sandbox;
use crate::settings::DEFAULT_BATCH;

/// Deadline of a recording and of a command.
const DEADLINE: Duration = Duration::from_secs(600);
/// How often the letters are counted while they are recorded.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// One value of each figure for each run.
#[derive(Default)]
pub(crate) struct Values {
    recorded: Vec<f64>,
    stats: Vec<f64>,
    list: Vec<f64>,
    pub(crate) replayed: Vec<f64>,
    pub(crate) drained: Vec<f64>,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for database in &bench.settings.databases {
        let mut values = Values::default();
        for _ in 0..bench.settings.repeat {
            values.measure(bench, *database, bench.settings.letters as usize).await?;
        }
        let name = |what: &str| format!("{what} dead letters, {}", database.name());
        figures.extend([
            Figure::new(name("recording"), "/s", values.recorded),
            Figure::new(name("stats of all"), "ms", values.stats),
            Figure::new(name("list of the newest"), "ms", values.list),
            Figure::new(name("replay of all"), "/s", values.replayed).compared_to("drain", values.drained),
        ]);
    }
    Ok(figures)
}

impl Values {
    /// Drains `count` webhooks, then records and replays as many dead letters.
    pub(crate) async fn measure(&mut self, bench: &Bench, database: Database, count: usize) -> Result<()> {
        let sandbox = bench.sandbox(database).await?;
        fill(&sandbox, count).await?;
        let (process, rates) = drain::banklink(&sandbox, DEFAULT_BATCH, count, "drain").await?;
        process.stop().await?;
        self.drained.push(rates.events);

        fill_dead(&sandbox, count).await?;
        let mut process = Running::start(sandbox.banklink(&["run", "worker", "relay"]))?;
        process.ready().await?;
        self.recorded.push(count as f64 / recording(&sandbox, count).await?.as_secs_f64());
        self.stats.push(1e3 * timed(&sandbox, &["dead-letters", "stats"]).await?.0.as_secs_f64());
        self.list.push(1e3 * timed(&sandbox, &["dead-letters", "list"]).await?.0.as_secs_f64());
        let replay = ["dead-letters", "replay", "--class", "panicked", "--yes", "--json", "--by", "bench"];
        let (took, totals) = timed(&sandbox, &replay).await?;
        let totals: Value = serde_json::from_str(totals.trim()).context("the totals of replay")?;
        ensure!(totals["applied"].as_u64() == Some(count as u64), "not every letter was applied: {totals}");
        self.replayed.push(count as f64 / took.as_secs_f64());
        process.stop().await?;
        bench.remove(&sandbox).await;
        let last = |values: &[f64]| format_value(values.last().copied().unwrap_or_default());
        let (replayed, drained) = (last(&self.replayed), last(&self.drained));
        progress::print(&format!("replay, {}: {replayed}/s, drain {drained}/s", database.name()));
        Ok(())
    }
}

/// Waits until the worker has recorded every letter, and returns how long that took.
async fn recording(sandbox: &Sandbox, count: usize) -> Result<Duration> {
    let bar = progress::bar("recording", count);
    let start = Instant::now();
    loop {
        let groups = process::output(sandbox.banklink(&["dead-letters", "stats", "--json"])).await?;
        let groups = groups.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let dead: u64 = groups.iter().filter_map(|group| group["count"].as_u64()).sum();
        if dead >= count as u64 {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < DEADLINE, "only {dead} of {count} letters are recorded after {DEADLINE:?}");
        bar.set_position(dead);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Runs a command to its end. Returns how long that took, the start of the process included, and its output.
async fn timed(sandbox: &Sandbox, arguments: &[&str]) -> Result<(Duration, String)> {
    let _spinner = progress::spinner(arguments[1]);
    let start = Instant::now();
    let output = process::output_within(sandbox.banklink(arguments), DEADLINE).await?;
    Ok((start.elapsed(), output))
}
