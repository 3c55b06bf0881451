//! Worker and relay: a queue, filled beforehand, is drained into rows and confirmed events.
//!
//! The clock starts when the first poll of the metrics shows a handled webhook, so that starting up does not count;
//! what was handled and published by then does not count either. It stops when a poll shows the last event confirmed.
//! The ceiling measures itself in the same way.
//!
//! If the machine stalls, a short drain may fit between two polls. The clock then starts with the first of the two, so
//! that the result is a lower bound of the rate.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::args::Database;
use crate::bench::Bench;
use crate::fill::fill;
use crate::http::Client;
use crate::proc::{self, Cpu, Meter};
use crate::process::Running;
use crate::report::{Figure, format_value};
use crate::sandbox::Sandbox;
use crate::settings::DEFAULT_BATCH;
use crate::{broker, progress};

/// How often the metrics are polled: often enough for an error of 1 % in five seconds. Every 20 ms, answering took a twentieth of the
/// process's own time, which a ceiling does not spend.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Deadline for progress of a drain.
const DEADLINE: Duration = Duration::from_secs(60);
/// Deadline for the last delete and the last ack to become visible.
const SETTLE_DEADLINE: Duration = Duration::from_secs(15);

/// Webhooks a second, and what one of them takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Until the rows are written.
    pub(crate) rows: f64,
    /// Until the events are confirmed.
    pub(crate) events: f64,
    pub(crate) cpu: Cpu,
}

/// The program that drains the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drainer {
    Banklink { batch: u32 },
    Ceiling,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for database in &bench.settings.databases {
        let mut drainers: Vec<_> =
            bench.settings.batches.iter().map(|batch| Drainer::Banklink { batch: *batch }).collect();
        drainers.push(Drainer::Ceiling);
        // The two that are compared run one after the other.
        drainers
            .sort_by_key(|drainer| matches!(drainer, Drainer::Banklink { batch: DEFAULT_BATCH } | Drainer::Ceiling));
        let mut measured: Vec<Vec<Rates>> = vec![Vec::new(); drainers.len()];
        for run in 0..bench.settings.repeat {
            let mut order: Vec<usize> = (0..drainers.len()).collect();
            // Alternating, so that the same one does not always run after the other and pay for its checkpoints.
            if run % 2 == 1 {
                order.reverse();
            }
            for index in order {
                measured[index].push(drain(bench, *database, drainers[index]).await?);
            }
        }
        let rates =
            |drainer| drainers.iter().position(|other| *other == drainer).map(|index| measured[index].as_slice());
        figures.extend(compare(bench, *database, rates));
    }
    figures.extend(sqlite_compared_to_postgres(&figures));
    Ok(figures)
}

/// The figures of one database: each batch size compared with the ceiling, and the larger ones with batch size 1.
fn compare<'a>(bench: &Bench, database: Database, rates: impl Fn(Drainer) -> Option<&'a [Rates]>) -> Vec<Figure> {
    let events = |rates: &[Rates]| rates.iter().map(|rates| rates.events).collect::<Vec<_>>();
    let rows = |rates: &[Rates]| rates.iter().map(|rates| rates.rows).collect::<Vec<_>>();
    let ceiling = rates(Drainer::Ceiling).unwrap_or_default();
    let mut figures = Vec::new();
    for batch in &bench.settings.batches {
        let measured = rates(Drainer::Banklink { batch: *batch }).unwrap_or_default();
        figures
            .push(Figure::new(name(database, *batch), "/s", events(measured)).compared_to("ceiling", events(ceiling)));
        if *batch == DEFAULT_BATCH {
            let to_rows = Figure::new(format!("{}, rows only", name(database, *batch)), "/s", rows(measured));
            figures.push(to_rows.compared_to("ceiling", rows(ceiling)));
            let cpu = |rates: &[Rates]| rates.iter().map(|rates| rates.cpu).collect::<Vec<_>>();
            figures.extend(proc::figures(&name(database, *batch), &cpu(measured), &cpu(ceiling)));
        }
    }
    let one = rates(Drainer::Banklink { batch: 1 });
    for batch in bench.settings.batches.iter().filter(|batch| **batch > 1) {
        if let (Some(one), Some(larger)) = (one, rates(Drainer::Banklink { batch: *batch })) {
            figures.push(Figure::new(name(database, *batch), "/s", events(larger)).compared_to("batch 1", events(one)));
        }
    }
    figures
}

fn sqlite_compared_to_postgres(figures: &[Figure]) -> Option<Figure> {
    let find = |name: String| figures.iter().find(|figure| figure.name == name);
    let sqlite = find(name(Database::Sqlite, DEFAULT_BATCH))?;
    let postgres = find(name(Database::Postgres, 16))?;
    let values = postgres.values.clone();
    Some(Figure::new(&sqlite.name, "/s", sqlite.values.clone()).compared_to("PostgreSQL, batch 16", values))
}

fn name(database: Database, batch: u32) -> String {
    format!("drain, {}, batch {batch}", database.name())
}

pub(crate) async fn drain(bench: &Bench, database: Database, drainer: Drainer) -> Result<Rates> {
    let what = match drainer {
        Drainer::Banklink { batch } => name(database, batch),
        Drainer::Ceiling => format!("drain, {}, ceiling", database.name()),
    };
    let count = webhooks(bench, drainer);
    let sandbox = bench.sandbox(database).await?;
    fill(&sandbox, count).await?;
    let rates = match drainer {
        Drainer::Banklink { batch } => {
            let (process, rates) = banklink(&sandbox, batch, count, &what).await?;
            verify_completion(&sandbox, count).await.with_context(|| format!("{what}:\n{}", process.log()))?;
            process.stop().await?;
            rates
        }
        Drainer::Ceiling => {
            let rates = ceiling(&sandbox, count, &what).await.with_context(|| what.clone())?;
            verify_completion(&sandbox, count).await.with_context(|| what.clone())?;
            rates
        }
    };
    bench.remove(&sandbox).await;
    progress::print(&format!("{what}: {}/s (rows only {}/s)", format_value(rates.events), format_value(rates.rows)));
    Ok(rates)
}

/// How many webhooks take the drainer a few seconds.
fn webhooks(bench: &Bench, drainer: Drainer) -> usize {
    let count = bench.settings.count as usize;
    match drainer {
        Drainer::Banklink { batch: 1..8 } => count / 10,
        Drainer::Banklink { batch: 8..32 } => count / 2,
        Drainer::Banklink { .. } | Drainer::Ceiling => count,
    }
}

/// Drains `count` webhooks by banklink's worker and relay in one process, and returns that process, which is still
/// running.
pub(crate) async fn banklink(sandbox: &Sandbox, batch: u32, count: usize, what: &str) -> Result<(Running, Rates)> {
    let mut command = sandbox.banklink(&["run", "worker", "relay"]);
    command.env("BANKLINK_BATCH_SIZE", batch.to_string());
    let mut process = Running::start(command)?;
    let mut admin = process.admin().await?;
    let watched = watch(sandbox, &process, &mut admin, count, what).await;
    let rates = watched.with_context(|| format!("{what}:\n{}", process.log()))?;
    Ok((process, rates))
}

/// Polls the counters until the last event is confirmed.
async fn watch(sandbox: &Sandbox, process: &Running, admin: &mut Client, count: usize, what: &str) -> Result<Rates> {
    let (bar, started) = (progress::bar(what, count), process.started);
    let meter = Meter::start(process.pid(), &sandbox.endpoints);
    let (mut first, mut rows_done, mut progressed, mut last_poll) = (None, None, (0, started), started);
    loop {
        let (_, metrics) = admin.get("/metrics").await?;
        let now = Instant::now();
        // A webhook is stale if it was applied before, and the answer to the commit was lost.
        let applied = counter(metrics, "banklink_worker_deliveries_total{outcome=\"applied\"}")
            + counter(metrics, "banklink_worker_deliveries_total{outcome=\"stale\"}");
        let events = counter(metrics, "banklink_events_published_total");
        if applied > 0 {
            first.get_or_insert(if applied < count { (now, applied, events) } else { (last_poll, 0, 0) });
        }
        last_poll = now;
        if applied >= count {
            rows_done.get_or_insert(now);
        }
        if let (Some((start, rows_before, events_before)), Some(rows_done)) = (first, rows_done)
            && events >= count
        {
            let rate = |done: usize, end: Instant| done as f64 / end.duration_since(start).as_secs_f64();
            let (rows, events) = (rate(count - rows_before, rows_done), rate(count - events_before, now));
            return Ok(Rates { rows, events, cpu: meter.per_webhook(count) });
        }
        if applied + events > progressed.0 {
            progressed = (applied + events, now);
        }
        ensure!(progressed.1.elapsed() < DEADLINE, "stuck at {applied} rows and {events} events of {count}");
        bar.set_position(events as u64);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The sum of the series whose name and labels begin with `name`.
fn counter(metrics: &str, name: &str) -> usize {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as usize
}

async fn ceiling(sandbox: &Sandbox, count: usize, what: &str) -> Result<Rates> {
    let _spinner = progress::spinner(what);
    let arguments = ["ceiling-drain", "--namespace", &sandbox.namespace, "--count", &count.to_string()];
    let mut process = Running::start(sandbox.ceiling(&arguments)?)?;
    let meter = Meter::start(process.pid(), &sandbox.endpoints);
    let line = process.logged("drained", DEADLINE * 10, POLL_INTERVAL).await?;
    let cpu = meter.per_webhook(count);
    let rate = |key: &str| Some(count as f64 / line[key].as_f64()?);
    let (rows, events) = rate("rows_seconds").zip(rate("events_seconds")).context("the ceiling logged no times")?;
    Ok(Rates { rows, events, cpu })
}

/// Verifies that every webhook has become a row, and that outbox and queue are empty. Otherwise the rate would mean
/// nothing.
async fn verify_completion(sandbox: &Sandbox, count: usize) -> Result<()> {
    let connection = broker::connect(&sandbox.amqp_url).await?;
    let channel = broker::with_deadline(connection.create_channel()).await?;
    let deadline = Instant::now() + SETTLE_DEADLINE;
    loop {
        let (rows, outbox) = sandbox.count_rows().await?;
        let ready = broker::ready(&channel, &sandbox.webhooks()).await?;
        if (rows, outbox, ready) == (count, 0, 0) {
            return broker::with_deadline(connection.close(200, "done".into())).await;
        }
        ensure!(
            Instant::now() < deadline,
            "{rows} rows of {count}, {outbox} unpublished events, {ready} messages on the queue"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
