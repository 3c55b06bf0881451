//! The drain into a table with millions of rows, and from a queue with a million messages. On PostgreSQL, at the
//! default batch size.
//!
//! One table is filled in steps. At each step, drains into it alternate with drains into an empty one. There is one
//! checkpoint per step, not one per drain: after a checkpoint PostgreSQL writes each page in full once, which would
//! dominate a short run.

use anyhow::{Context, Result};
use sea_orm::sqlx::{self, Connection, PgConnection};

use crate::args::Database;
use crate::bench::Bench;
use crate::fill::fill;
use crate::report::{Figure, format_value};
use crate::sandbox::{Sandbox, with_deadline};
use crate::settings::DEFAULT_BATCH;
use crate::{drain, progress};

/// Rows inserted by one statement, after which the progress bar moves.
const ROWS_PER_STATEMENT: u32 = 100_000;
/// Inserts bank links as if they had been created at random times of the last year.
const INSERT_ROWS: &str = "\
    INSERT INTO bank_links (entity_id, customer_id, bank_identifier, bank_name, bank_main_color, bank_background_color, \
      permissions, linked_at, occurred_at, version, revision, instants, created_at, updated_at) \
    SELECT gen_random_uuid(), gen_random_uuid()::text, 'LEANMB2', 'Lean Mock Bank', '#1beb75', '#001E26', \
      '[\"accounts\",\"balance\",\"identity\",\"transactions\"]', at, at, (extract(epoch FROM at) * 1000000)::bigint * 1000, \
      1, '{}', at, at \
    FROM (SELECT now() - random() * interval '365 days' AS at FROM generate_series(1, $1)) AS moments";

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let empty = bench.sandbox(Database::Postgres).await?;
    let mut figures = with_rows(bench, &empty).await?;
    figures.push(with_backlog(bench, &empty).await?);
    bench.remove(&empty).await;
    Ok(figures)
}

async fn with_rows(bench: &Bench, empty: &Sandbox) -> Result<Vec<Figure>> {
    let count = bench.settings.count as usize;
    let sandbox = bench.sandbox(Database::Postgres).await?;
    let mut connection = with_deadline(PgConnection::connect(&sandbox.database_url)).await?;
    let (mut figures, mut existing) = (Vec::new(), 0);
    for rows in bench.settings.rows {
        add_rows(&mut connection, rows - existing).await.context("filling bank_links")?;
        existing = rows;
        vacuum(&mut connection).await?;
        let name = format!("drain, {} rows in the table", thousands(rows));
        let drain_into_full = async || {
            fill(&sandbox, count).await?;
            drain_once(&sandbox, count, &name).await
        };
        let [full, none] = alternate(bench, drain_into_full, empty).await?;
        figures.push(Figure::new(&name, "/s", full).compared_to("empty table", none));
    }
    with_deadline(connection.close()).await?;
    bench.remove(&sandbox).await;
    Ok(figures)
}

/// Measures the drain of the first webhooks of a long queue. The rest of the queue is used by the next run.
async fn with_backlog(bench: &Bench, empty: &Sandbox) -> Result<Figure> {
    let name = format!("drain, backlog of {} messages", thousands(bench.settings.backlog));
    let sandbox = bench.sandbox(Database::Postgres).await?;
    fill(&sandbox, bench.settings.backlog as usize).await?;
    let first = bench.settings.count.min(bench.settings.backlog / (bench.settings.repeat + 1)) as usize;
    let drain_first = async || {
        // The last run may have left events that it did not publish.
        execute(&sandbox, "TRUNCATE outbox_events").await?;
        drain_once(&sandbox, first, &name).await
    };
    let [long, short] = alternate(bench, drain_first, empty).await?;
    bench.remove(&sandbox).await;
    Ok(Figure::new(&name, "/s", long).compared_to("short queue", short))
}

/// Measures `drain` and the drain into the empty sandbox in turn, so that a temporary slowness of the machine affects
/// both.
async fn alternate(bench: &Bench, drain: impl AsyncFn() -> Result<f64>, empty: &Sandbox) -> Result<[Vec<f64>; 2]> {
    let (mut rates, mut empty_rates) = (Vec::new(), Vec::new());
    for run in 0..bench.settings.repeat {
        if run % 2 == 0 {
            rates.push(drain().await?);
            empty_rates.push(drain_into_empty(bench, empty).await?);
        } else {
            empty_rates.push(drain_into_empty(bench, empty).await?);
            rates.push(drain().await?);
        }
    }
    Ok([rates, empty_rates])
}

async fn drain_into_empty(bench: &Bench, sandbox: &Sandbox) -> Result<f64> {
    let count = bench.settings.count as usize;
    execute(sandbox, "TRUNCATE bank_links, outbox_events").await?;
    fill(sandbox, count).await?;
    drain_once(sandbox, count, "drain, empty table").await
}

async fn drain_once(sandbox: &Sandbox, count: usize, name: &str) -> Result<f64> {
    let (process, rates) = drain::banklink(sandbox, DEFAULT_BATCH, count, name).await?;
    process.stop().await?;
    progress::print(&format!("{name}: {}/s", format_value(rates.events)));
    Ok(rates.events)
}

async fn execute(sandbox: &Sandbox, sql: &'static str) -> Result<()> {
    let mut connection = with_deadline(PgConnection::connect(&sandbox.database_url)).await?;
    with_deadline(sqlx::raw_sql(sql).execute(&mut connection)).await?;
    with_deadline(connection.close()).await
}

async fn add_rows(connection: &mut PgConnection, rows: u32) -> Result<()> {
    let bar = progress::bar("filling bank_links", rows as usize);
    let mut left = rows;
    while left > 0 {
        let now = left.min(ROWS_PER_STATEMENT);
        with_deadline(sqlx::query(INSERT_ROWS).bind(i64::from(now)).execute(&mut *connection)).await?;
        left -= now;
        bar.inc(now.into());
    }
    Ok(())
}

/// Leaves no work for autovacuum or a checkpoint during a drain. Not every user may request a checkpoint.
async fn vacuum(connection: &mut PgConnection) -> Result<()> {
    with_deadline(sqlx::raw_sql("VACUUM ANALYZE").execute(&mut *connection)).await?;
    let _ = with_deadline(sqlx::raw_sql("CHECKPOINT").execute(connection)).await;
    Ok(())
}

/// Formats 5000000 as `5,000,000`.
fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}
