//! The operator's commands on a bad night: many dead letters recorded, counted, listed and replayed, on both databases.
//!
//! The replay stands beside the drain of as many fresh webhooks in the same run: a worker that is fed by a replay should keep
//! at least half of that pace, although each letter is claimed, kept and resolved beside being handled.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::args::Database;
use crate::drain;
use crate::fill::{fill, fill_dead};
use crate::place::Place;
use crate::process::{self, Running};
use crate::report::{Figure, shown};
use crate::settings::DEFAULT_BATCH;
use crate::{Bench, progress};

/// A recording or a replay that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often the letters are counted while they are recorded.
const LOOK: Duration = Duration::from_millis(200);

/// What one run came to.
#[derive(Default)]
struct Night {
    recorded: Vec<f64>,
    stats: Vec<f64>,
    list: Vec<f64>,
    replayed: Vec<f64>,
    drained: Vec<f64>,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for database in &bench.settings.databases {
        let mut night = Night::default();
        for _ in 0..bench.settings.repeat {
            night.live_through(bench, *database).await?;
        }
        let name = |what: &str| format!("{what} dead letters, {}", database.name());
        figures.extend([
            Figure::new(name("recording"), "/s", night.recorded),
            Figure::new(name("stats of all"), "ms", night.stats),
            Figure::new(name("list of the newest"), "ms", night.list),
            Figure::new(name("replay of all"), "/s", night.replayed).beside("drain", night.drained),
        ]);
    }
    Ok(figures)
}

impl Night {
    async fn live_through(&mut self, bench: &Bench, database: Database) -> Result<()> {
        let count = bench.settings.letters as usize;
        let place = bench.places.make(bench, database).await?;
        fill(bench, &place, count).await?;
        let (process, rates) = drain::banklink(bench, &place, DEFAULT_BATCH, count, "drain").await?;
        process.stop().await?;
        self.drained.push(rates.events);

        fill_dead(bench, &place, count).await?;
        let mut process = Running::start(process::banklink(bench, &place, &["run", "worker", "relay"]))?;
        process.ready().await?;
        self.recorded.push(count as f64 / recording(bench, &place, count).await?.as_secs_f64());
        self.stats.push(1e3 * timed(bench, &place, &["dead-letters", "stats"]).await?.0.as_secs_f64());
        self.list.push(1e3 * timed(bench, &place, &["dead-letters", "list"]).await?.0.as_secs_f64());
        let replay = ["dead-letters", "replay", "--class", "panicked", "--yes", "--json", "--by", "bench"];
        let (took, totals) = timed(bench, &place, &replay).await?;
        let totals: Value = serde_json::from_str(totals.trim()).context("the totals")?;
        ensure!(totals["applied"].as_u64() == Some(count as u64), "not every letter was applied: {totals}");
        self.replayed.push(count as f64 / took.as_secs_f64());
        process.stop().await?;
        bench.places.remove(bench, &place).await;
        let last = |values: &[f64]| shown(values.last().copied().unwrap_or_default());
        let (replayed, drained) = (last(&self.replayed), last(&self.drained));
        progress::say(&format!("replay, {}: {replayed}/s beside a drain of {drained}/s", database.name()));
        Ok(())
    }
}

/// Waits until the worker has recorded every letter; how long it took from here.
async fn recording(bench: &Bench, place: &Place, count: usize) -> Result<Duration> {
    let bar = progress::bar("recording", count);
    let start = Instant::now();
    loop {
        let kinds = process::output(process::banklink(bench, place, &["dead-letters", "stats", "--json"])).await?;
        let kinds = kinds.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let dead: u64 = kinds.iter().filter_map(|kind| kind["count"].as_u64()).sum();
        if dead >= count as u64 {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < PATIENCE, "{dead} of {count} letters are recorded after {PATIENCE:?}");
        bar.set_position(dead);
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs a command to its end; how long it took, start of the process included, and what it printed.
async fn timed(bench: &Bench, place: &Place, arguments: &[&str]) -> Result<(Duration, String)> {
    let _spinner = progress::spinner(arguments[1]);
    let start = Instant::now();
    let printed = process::output_within(process::banklink(bench, place, arguments), PATIENCE).await?;
    Ok((start.elapsed(), printed))
}
