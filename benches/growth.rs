//! The drain again, where much is there already: millions of rows, and a long queue. On PostgreSQL, at the default batch size.
//!
//! One table is filled further and further, and drained into at each step, in turn with an empty one. There is one checkpoint
//! before the runs of a step, not before each: PostgreSQL writes a page in full after a checkpoint, which so short a run would
//! pay for several times over.

use anyhow::{Context, Result};
use sea_orm::sqlx::{self, Connection, PgConnection};

use crate::args::Database;
use crate::drain;
use crate::fill::fill;
use crate::place::{Place, in_time};
use crate::report::{Figure, shown};
use crate::settings::DEFAULT_BATCH;
use crate::{Bench, progress};

/// Rows in one statement: a bar that moves.
const AT_ONCE: u32 = 100_000;
/// A bank link as an `entity.created` within the last year left it.
const ROWS: &str = "\
    INSERT INTO bank_links (entity_id, customer_id, bank_identifier, bank_name, bank_main_color, bank_background_color, \
      permissions, linked_at, occurred_at, version, revision, instants, created_at, updated_at) \
    SELECT gen_random_uuid(), gen_random_uuid()::text, 'LEANMB2', 'Lean Mock Bank', '#1beb75', '#001E26', \
      '[\"accounts\",\"balance\",\"identity\",\"transactions\"]', at, at, (extract(epoch FROM at) * 1000000)::bigint * 1000, \
      1, '{}', at, at \
    FROM (SELECT now() - random() * interval '365 days' AS at FROM generate_series(1, $1)) AS moments";

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let empty = bench.places.make(bench, Database::Postgres).await?;
    let mut figures = with_rows(bench, &empty).await?;
    figures.push(with_backlog(bench, &empty).await?);
    bench.places.remove(bench, &empty).await;
    Ok(figures)
}

async fn with_rows(bench: &Bench, empty: &Place) -> Result<Vec<Figure>> {
    let count = bench.settings.count as usize;
    let place = bench.places.make(bench, Database::Postgres).await?;
    let mut connection = in_time(PgConnection::connect(&place.database_url)).await?;
    let (mut figures, mut there) = (Vec::new(), 0);
    for rows in bench.settings.rows {
        add_rows(&mut connection, rows - there).await.context("filling bank_links")?;
        there = rows;
        tidy(&mut connection).await?;
        let name = format!("drain, {} rows already there", thousands(rows));
        let drain_into_many = async || {
            fill(bench, &place, count).await?;
            drain_once(bench, &place, count, &name).await
        };
        let [many, none] = in_turn(bench, drain_into_many, empty).await?;
        figures.push(Figure::new(&name, "/s", many).beside("empty table", none));
    }
    in_time(connection.close()).await?;
    bench.places.remove(bench, &place).await;
    Ok(figures)
}

/// The rate over the first webhooks of a long queue; what is left of it serves the next run.
async fn with_backlog(bench: &Bench, empty: &Place) -> Result<Figure> {
    let name = format!("drain, backlog of {} messages", thousands(bench.settings.backlog));
    let place = bench.places.make(bench, Database::Postgres).await?;
    fill(bench, &place, bench.settings.backlog as usize).await?;
    let first = bench.settings.count.min(bench.settings.backlog / (bench.settings.repeat + 1)) as usize;
    let drain_the_first = async || {
        // What the last run wrote and had no time to publish is not this one's.
        on(&place, "TRUNCATE outbox_events").await?;
        drain_once(bench, &place, first, &name).await
    };
    let [long, short] = in_turn(bench, drain_the_first, empty).await?;
    bench.places.remove(bench, &place).await;
    Ok(Figure::new(&name, "/s", long).beside("short queue", short))
}

/// The rates where much is there, and those into the empty place. They take turns: a machine that is slower for a minute is so
/// for both.
async fn in_turn(bench: &Bench, drain_much: impl AsyncFn() -> Result<f64>, empty: &Place) -> Result<[Vec<f64>; 2]> {
    let (mut much, mut nothing) = (Vec::new(), Vec::new());
    for run in 0..bench.settings.repeat {
        if run % 2 == 0 {
            much.push(drain_much().await?);
            nothing.push(drain_into_empty(bench, empty).await?);
        } else {
            nothing.push(drain_into_empty(bench, empty).await?);
            much.push(drain_much().await?);
        }
    }
    Ok([much, nothing])
}

async fn drain_into_empty(bench: &Bench, place: &Place) -> Result<f64> {
    let count = bench.settings.count as usize;
    on(place, "TRUNCATE bank_links, outbox_events").await?;
    fill(bench, place, count).await?;
    drain_once(bench, place, count, "drain, nothing there").await
}

async fn drain_once(bench: &Bench, place: &Place, count: usize, name: &str) -> Result<f64> {
    let (process, rates) = drain::banklink(bench, place, DEFAULT_BATCH, count, name).await?;
    process.stop().await?;
    progress::say(&format!("{name}: {}/s", shown(rates.events)));
    Ok(rates.events)
}

async fn on(place: &Place, sql: &'static str) -> Result<()> {
    let mut connection = in_time(PgConnection::connect(&place.database_url)).await?;
    in_time(sqlx::raw_sql(sql).execute(&mut connection)).await?;
    in_time(connection.close()).await
}

async fn add_rows(connection: &mut PgConnection, rows: u32) -> Result<()> {
    let bar = progress::bar("filling bank_links", rows as usize);
    let mut left = rows;
    while left > 0 {
        let now = left.min(AT_ONCE);
        in_time(sqlx::query(ROWS).bind(i64::from(now)).execute(&mut *connection)).await?;
        left -= now;
        bar.inc(now.into());
    }
    Ok(())
}

/// Leaves nothing for autovacuum or a checkpoint to do while a drain runs. Only some users may ask for a checkpoint.
async fn tidy(connection: &mut PgConnection) -> Result<()> {
    in_time(sqlx::raw_sql("VACUUM ANALYZE").execute(&mut *connection)).await?;
    let _ = in_time(sqlx::raw_sql("CHECKPOINT").execute(connection)).await;
    Ok(())
}

/// 5000000 as `5,000,000`.
fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}
