//! Worker and relay: a queue filled beforehand, drained to rows and confirmed events.
//!
//! The clock starts with the first webhook seen handled, so that starting up is no part of it; what was handled and published
//! by then does not count. It stops when the last event is seen confirmed. The ceiling keeps the same time of itself.
//!
//! A machine that stalls may hide the whole of a short drain between two looks. The clock starts with the first of them then,
//! so that the rate is one that was reached at least.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::args::Database;
use crate::fill::fill;
use crate::http::Client;
use crate::place::Place;
use crate::process::{self, Running};
use crate::report::{Figure, shown};
use crate::settings::DEFAULT_BATCH;
use crate::{Bench, broker, progress};

/// How often the counters are read: often enough for 1 %, and nothing that a worker would feel.
const LOOK: Duration = Duration::from_millis(20);
/// A drain that does not move for that long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long what is done may take to be seen as done: the last delete, the last ack.
const SETTLED: Duration = Duration::from_secs(15);

/// Webhooks a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// To rows.
    pub(crate) rows: f64,
    /// To rows and confirmed events.
    pub(crate) events: f64,
}

/// Who drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drainer {
    Banklink { batch: u32 },
    Ceiling,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for database in &bench.settings.databases {
        let mut drainers: Vec<_> =
            bench.settings.batches.iter().map(|batch| Drainer::Banklink { batch: *batch }).collect();
        drainers.push(Drainer::Ceiling);
        // The two that are compared stand side by side.
        drainers
            .sort_by_key(|drainer| matches!(drainer, Drainer::Banklink { batch: DEFAULT_BATCH } | Drainer::Ceiling));
        let mut measured: Vec<Vec<Rates>> = vec![Vec::new(); drainers.len()];
        for run in 0..bench.settings.repeat {
            let mut order: Vec<usize> = (0..drainers.len()).collect();
            // To and fro, so that neither always has the other's mess to clear.
            if run % 2 == 1 {
                order.reverse();
            }
            for index in order {
                measured[index].push(drain(bench, *database, drainers[index]).await?);
            }
        }
        let rates =
            |drainer| drainers.iter().position(|other| *other == drainer).map(|place| measured[place].as_slice());
        figures.extend(compare(bench, *database, rates));
    }
    figures.extend(sqlite_beside_postgres(&figures));
    Ok(figures)
}

/// The figures of one database, each batch size beside the ceiling, and the default one beside batch size 1.
fn compare<'a>(bench: &Bench, database: Database, rates: impl Fn(Drainer) -> Option<&'a [Rates]>) -> Vec<Figure> {
    let both = |rates: &[Rates]| rates.iter().map(|rates| rates.events).collect::<Vec<_>>();
    let rows = |rates: &[Rates]| rates.iter().map(|rates| rates.rows).collect::<Vec<_>>();
    let ceiling = rates(Drainer::Ceiling).unwrap_or_default();
    let mut figures = Vec::new();
    for batch in &bench.settings.batches {
        let measured = rates(Drainer::Banklink { batch: *batch }).unwrap_or_default();
        figures.push(Figure::new(name(database, *batch), "/s", both(measured)).beside("ceiling", both(ceiling)));
        if *batch == DEFAULT_BATCH {
            let to_rows = Figure::new(format!("{}, rows alone", name(database, *batch)), "/s", rows(measured));
            figures.push(to_rows.beside("ceiling", rows(ceiling)));
        }
    }
    let one = rates(Drainer::Banklink { batch: 1 });
    for batch in bench.settings.batches.iter().filter(|batch| **batch > 1) {
        if let (Some(one), Some(larger)) = (one, rates(Drainer::Banklink { batch: *batch })) {
            figures.push(Figure::new(name(database, *batch), "/s", both(larger)).beside("batch 1", both(one)));
        }
    }
    figures
}

fn sqlite_beside_postgres(figures: &[Figure]) -> Option<Figure> {
    let find = |name: String| figures.iter().find(|figure| figure.name == name);
    let sqlite = find(name(Database::Sqlite, DEFAULT_BATCH))?;
    let postgres = find(name(Database::Postgres, 16))?;
    let values = postgres.values.clone();
    Some(Figure::new(&sqlite.name, "/s", sqlite.values.clone()).beside("PostgreSQL, batch 16", values))
}

fn name(database: Database, batch: u32) -> String {
    format!("drain, {}, batch {batch}", database.name())
}

async fn drain(bench: &Bench, database: Database, drainer: Drainer) -> Result<Rates> {
    let what = match drainer {
        Drainer::Banklink { batch } => name(database, batch),
        Drainer::Ceiling => format!("drain, {}, ceiling", database.name()),
    };
    let count = webhooks(bench, drainer);
    let place = bench.places.make(bench, database).await?;
    fill(bench, &place, count).await?;
    let rates = match drainer {
        Drainer::Banklink { batch } => {
            let (process, rates) = banklink(bench, &place, batch, count, &what).await?;
            see_that_all_is_done(&place, count).await.with_context(|| format!("{what}:\n{}", process.log()))?;
            process.stop().await?;
            rates
        }
        Drainer::Ceiling => {
            let rates = ceiling(&place, count, &what).await.with_context(|| what.clone())?;
            see_that_all_is_done(&place, count).await.with_context(|| what.clone())?;
            rates
        }
    };
    bench.places.remove(bench, &place).await;
    progress::say(&format!("{what}: {}/s (rows alone {}/s)", shown(rates.events), shown(rates.rows)));
    Ok(rates)
}

/// How many webhooks keep that one busy for a few seconds.
fn webhooks(bench: &Bench, drainer: Drainer) -> usize {
    let count = bench.settings.count as usize;
    match drainer {
        Drainer::Banklink { batch: 1..8 } => count / 10,
        Drainer::Banklink { batch: 8..32 } => count / 2,
        Drainer::Banklink { .. } | Drainer::Ceiling => count,
    }
}

/// Lets banklink drain `count` webhooks with worker and relay in one process, which runs on.
pub(crate) async fn banklink(
    bench: &Bench,
    place: &Place,
    batch: u32,
    count: usize,
    what: &str,
) -> Result<(Running, Rates)> {
    let mut command = process::banklink(bench, place, &["run", "worker", "relay"]);
    command.env("BANKLINK_BATCH_SIZE", batch.to_string());
    let mut process = Running::start(command)?;
    let mut admin = process.admin().await?;
    let watched = watch(&mut admin, process.started, count, what).await;
    let rates = watched.with_context(|| format!("{what}:\n{}", process.log()))?;
    Ok((process, rates))
}

/// Watches the counters until the last event is confirmed.
async fn watch(admin: &mut Client, started: Instant, count: usize, what: &str) -> Result<Rates> {
    let bar = progress::bar(what, count);
    let (mut first, mut rows_done, mut moved, mut looked) = (None, None, (0, started), started);
    loop {
        let (_, metrics) = admin.get("/metrics").await?;
        let now = Instant::now();
        // Stale is what was applied before, when the answer to the commit was lost.
        let applied = counter(metrics, "banklink_worker_deliveries_total{outcome=\"applied\"}")
            + counter(metrics, "banklink_worker_deliveries_total{outcome=\"stale\"}");
        let events = counter(metrics, "banklink_events_published_total");
        if applied > 0 {
            first.get_or_insert(if applied < count { (now, applied, events) } else { (looked, 0, 0) });
        }
        looked = now;
        if applied >= count {
            rows_done.get_or_insert(now);
        }
        if let (Some((start, rows_before, events_before)), Some(rows_done)) = (first, rows_done)
            && events >= count
        {
            let rate = |done: usize, end: Instant| done as f64 / end.duration_since(start).as_secs_f64();
            return Ok(Rates { rows: rate(count - rows_before, rows_done), events: rate(count - events_before, now) });
        }
        if applied + events > moved.0 {
            moved = (applied + events, now);
        }
        ensure!(moved.1.elapsed() < PATIENCE, "stuck at {applied} rows and {events} events of {count}");
        bar.set_position(events as u64);
        tokio::time::sleep(LOOK).await;
    }
}

/// The sum of a counter over the labels that are left open.
pub(crate) fn counter(metrics: &str, name: &str) -> usize {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as usize
}

async fn ceiling(place: &Place, count: usize, what: &str) -> Result<Rates> {
    let _spinner = progress::spinner(what);
    let arguments = ["ceiling-drain", "--namespace", &place.namespace, "--count", &count.to_string()];
    let mut process = Running::start(process::ceiling(place, &arguments)?)?;
    let told = process.told("drained", PATIENCE * 10, LOOK).await?;
    let rate = |key: &str| Some(count as f64 / told[key].as_f64()?);
    let (rows, events) = rate("rows_seconds").zip(rate("events_seconds")).context("it told no times")?;
    Ok(Rates { rows, events })
}

/// Every webhook a row, no event left, nothing on the queue: a rate means nothing otherwise.
async fn see_that_all_is_done(place: &Place, count: usize) -> Result<()> {
    let connection = broker::connect(&place.amqp_url).await?;
    let channel = broker::in_time(connection.create_channel()).await?;
    let deadline = Instant::now() + SETTLED;
    loop {
        let (rows, outbox) = place.rows().await?;
        let ready = broker::ready(&channel, &place.webhooks()).await?;
        if (rows, outbox, ready) == (count, 0, 0) {
            return broker::in_time(connection.close(200, "seen".into())).await;
        }
        ensure!(Instant::now() < deadline, "{rows} rows of {count}, {outbox} events unpublished, {ready} on the queue");
        tokio::time::sleep(LOOK).await;
    }
}
