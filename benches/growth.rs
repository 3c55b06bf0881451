//! The drain again, where much is there already: millions of rows, and a long queue. On PostgreSQL, at the default batch size.
//!
//! One table is filled further and further, and drained into at each step. There is one checkpoint before the runs of a step,
//! not before each: PostgreSQL writes a page in full after a checkpoint, which so short a run would pay for several times over.

use anyhow::{Context, Result};
use sea_orm::sqlx::{self, Connection, PgConnection};

use crate::args::Database;
use crate::drain::{self, Rates};
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
    let count = bench.settings.count as usize;
    let place = bench.places.make(bench, Database::Postgres).await?;
    let mut connection = in_time(PgConnection::connect(&place.database_url)).await?;
    let (mut figures, mut empty) = (Vec::<Figure>::new(), Vec::new());
    let mut there = 0;
    for rows in bench.settings.rows {
        add_rows(&mut connection, rows - there).await.context("filling bank_links")?;
        there = rows;
        tidy(&mut connection).await?;
        let name = format!("drain, {} rows already there", thousands(rows));
        let mut rates = Vec::new();
        for _ in 0..bench.settings.repeat {
            fill(bench, &place, count).await?;
            rates.push(drain_once(bench, &place, count, &name).await?);
            if rows == 0 {
                in_time(sqlx::raw_sql("TRUNCATE bank_links").execute(&mut connection)).await?;
            }
        }
        if rows == 0 {
            empty.clone_from(&rates);
            figures.push(Figure::new(name, "/s", rates));
        } else {
            figures.push(Figure::new(name, "/s", rates).beside("empty table", empty.clone()));
        }
    }
    in_time(connection.close()).await?;
    bench.places.remove(bench, &place).await?;
    figures.push(backlog(bench, empty).await?);
    Ok(figures)
}

/// The rate over the first webhooks of a long queue; what is left of it serves the next run.
async fn backlog(bench: &Bench, short: Vec<f64>) -> Result<Figure> {
    let name = format!("drain, backlog of {} messages", thousands(bench.settings.backlog));
    let place = bench.places.make(bench, Database::Postgres).await?;
    fill(bench, &place, bench.settings.backlog as usize).await?;
    let count = bench.settings.count.min(bench.settings.backlog / (bench.settings.repeat + 1)) as usize;
    let mut rates = Vec::new();
    for _ in 0..bench.settings.repeat {
        rates.push(drain_once(bench, &place, count, &name).await?);
    }
    bench.places.remove(bench, &place).await?;
    Ok(Figure::new(name, "/s", rates).beside("short queue", short))
}

async fn drain_once(bench: &Bench, place: &Place, count: usize, name: &str) -> Result<f64> {
    let drained = drain::banklink(bench, place, DEFAULT_BATCH, count, name).await;
    let Rates { events, .. } = drained.with_context(|| name.to_owned())?;
    progress::say(&format!("{name}: {}/s", shown(events)));
    Ok(events)
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
