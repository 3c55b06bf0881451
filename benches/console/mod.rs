//! The console: how long each of its pages takes with many dead letters, on both databases.
//!
//! A person looks at one page after the other, so the pages are asked for one at a time, of a console in a process of its own. The
//! letters are then replayed in the console: its pages are asked for while no worker runs and every letter is under way, while the
//! worker handles them, and after about a half.

mod fill;
mod pages;
mod rows;
mod visitor;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use entity::replay;
use sea_orm::{DatabaseConnection, EntityTrait};

use crate::args::Database;
use crate::bench::Bench;
use crate::process::{self, POLL_INTERVAL, Running};
use crate::progress;
use crate::report::{Figure, format_value};
use crate::sandbox::Sandbox;
use crate::stats::quantile;
use fill::Filled;
use pages::Request;
use visitor::Visitor;

/// Deadline of the start of the console, and of each part of the replay.
const DEADLINE: Duration = Duration::from_secs(600);
/// How often the replay is looked at.
const REPLAY_INTERVAL: Duration = Duration::from_millis(200);

/// What was measured on one database: names with one value for each run, in the order of their measurement.
#[derive(Default)]
struct Values(Vec<(String, Vec<f64>)>);

impl Values {
    fn add(&mut self, name: String, milliseconds: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(milliseconds),
            None => self.0.push((name, vec![milliseconds])),
        }
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for database in &bench.settings.databases {
        let mut values = Values::default();
        for _ in 0..bench.settings.repeat {
            let sandbox = bench.sandbox(*database).await?;
            measure_in(bench, &sandbox, *database, &mut values).await?;
            bench.remove(&sandbox).await;
        }
        let named = values.0.into_iter();
        figures.extend(
            named.map(|(name, values)| Figure::new(format!("console, {}: {name}", database.name()), "ms", values)),
        );
    }
    Ok(figures)
}

async fn measure_in(bench: &Bench, sandbox: &Sandbox, database: Database, values: &mut Values) -> Result<()> {
    let connection = sandbox.connect().await?;
    let filled = fill::fill(&connection, bench.settings.letters).await.context("filling the database")?;
    let mut process = Running::start(sandbox.banklink(&["run", "console"]))?;
    process.ready().await?;
    let line = process.logged("showing the console", DEADLINE, POLL_INTERVAL).await?;
    let visitor = Visitor::new(line["listen"].as_str().context("no address")?)?;
    let mut visit = Visit { visitor: &visitor, visits: bench.settings.visits, database, values };
    visit.ask_all(&pages::before_replay(&visitor, &filled).await?).await?;
    replay(sandbox, &connection, &filled, &mut visit).await.context("the replay")?;
    process.stop().await?;
    Ok(connection.close().await?)
}

/// Replays every letter in the console, and asks for the pages that show the replay.
async fn replay(
    sandbox: &Sandbox,
    connection: &DatabaseConnection,
    filled: &Filled,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let start = pages::start_of_replay(visit.visitor).await?;
    let (took, _) = visit.visitor.ask(&start).await?;
    visit.add(start.name, took);
    until(connection, "replayed", |replay| replay.replayed + replay.skipped == replay.letters).await?;
    visit.ask_all(&pages::of_replay("all under way")).await?;
    visit.command(sandbox, "replays show, all under way").await?;
    let mut worker = Running::start(sandbox.banklink(&["run", "worker", "relay"]))?;
    worker.ready().await?;
    visit.ask_all(&pages::of_replay("being handled")).await?;
    let half = i32::try_from(filled.letters / 2)?;
    until(connection, "applied", |replay| replay.applied + replay.stale >= half).await?;
    worker.stop().await?;
    visit.ask_all(&pages::of_replay("half done")).await?;
    visit.command(sandbox, "replays show, half done").await
}

/// Waits until the only replay is as `is_reached` says.
async fn until(connection: &DatabaseConnection, what: &str, is_reached: impl Fn(&replay::Model) -> bool) -> Result<()> {
    let (start, bar) = (Instant::now(), progress::spinner(what));
    loop {
        let replay = replay::Entity::find().one(connection).await?.context("there is no replay")?;
        if is_reached(&replay) {
            return Ok(());
        }
        ensure!(start.elapsed() < DEADLINE, "the letters are not {what} after {DEADLINE:?}: {replay:?}");
        bar.set_message(format!("{what}: {} of {}", replay.applied + replay.stale, replay.letters));
        tokio::time::sleep(REPLAY_INTERVAL).await;
    }
}

/// Where pages are asked for, and what comes of it.
struct Visit<'a> {
    visitor: &'a Visitor,
    /// How often each page is asked for.
    visits: u32,
    database: Database,
    values: &'a mut Values,
}

impl Visit<'_> {
    /// Asks for each of these pages many times, one after the other.
    async fn ask_all(&mut self, requests: &[Request]) -> Result<()> {
        for request in requests {
            let mut took = Vec::new();
            for _ in 0..self.visits {
                let (time, _) = self.visitor.ask(request).await.with_context(|| request.name.clone())?;
                took.push(time);
            }
            took.sort_unstable();
            let (median, tail) = (quantile(&took, 0.5), quantile(&took, 0.99));
            let (database, shown) = (self.database.name(), [median, tail].map(format_value));
            progress::print(&format!("{}, {database}: p50 {} ms, p99 {} ms", request.name, shown[0], shown[1]));
            self.values.add(format!("{}, p50", request.name), median);
            self.values.add(format!("{}, p99", request.name), tail);
        }
        Ok(())
    }

    /// Shows the replay once on the command line, its start included.
    async fn command(&mut self, sandbox: &Sandbox, name: &str) -> Result<()> {
        let start = Instant::now();
        process::output_within(sandbox.banklink(&["dead-letters", "replays", "show", "1"]), DEADLINE).await?;
        self.add(name.to_owned(), start.elapsed());
        Ok(())
    }

    fn add(&mut self, name: String, took: Duration) {
        let milliseconds = took.as_secs_f64() * 1e3;
        progress::print(&format!("{name}, {}: {} ms", self.database.name(), format_value(milliseconds)));
        self.values.add(name, milliseconds);
    }
}
