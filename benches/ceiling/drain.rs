//! The ceiling of worker and relay: lapin and hand-written SQL, one batch after the other, and the stages of a batch in
//! turn.
//!
//! It writes the same rows and publishes the same events with the same durability. It omits: several webhooks about one
//! bank link in a batch, values older than the row, retries, dead letters, poison messages, outages, metrics, logs,
//! shutdown.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{FutureExt, StreamExt};
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use sea_orm::sqlx::{PgConnection, SqliteConnection};
use serde_json::json;

use super::event::Linked;
use super::outbox::{BATCH_SIZE, EventPublisher};
use super::{postgres, sqlite};
use crate::args::CeilingDrain;
use crate::{broker, progress};

/// Maximum number of unacknowledged deliveries.
const PREFETCH: u16 = 1024;
/// How long to wait for a delivery.
const DEADLINE: Duration = Duration::from_secs(60);

enum Database {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// Drains `args.count` webhooks, and logs how long that took from the first delivery on.
pub(crate) async fn run(args: &CeilingDrain) -> Result<()> {
    let (amqp_url, database_url) = (std::env::var("AMQP_URL")?, std::env::var("DATABASE_URL")?);
    let mut database = if database_url.starts_with("sqlite:") {
        Database::Sqlite(sqlite::connect(&database_url).await?)
    } else {
        Database::Postgres(postgres::connect(&database_url).await?)
    };
    let (publishing, consuming) = (broker::connect(&amqp_url).await?, broker::connect(&amqp_url).await?);
    let (channel, exchange) = (broker::confirming(&publishing).await?, format!("{}.events", args.namespace));
    let publisher = EventPublisher { channel, exchange };
    let channel = broker::with_deadline(consuming.create_channel()).await?;
    broker::with_deadline(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    let (queue, options) = (format!("{}.webhooks", args.namespace), BasicConsumeOptions::default());
    let mut consumer =
        broker::with_deadline(channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()))
            .await?;

    let (mut rows, mut published, mut rows_seconds, mut start) = (0, 0, 0.0, None);
    while published < args.count {
        if rows < args.count {
            let batch = tokio::time::timeout(DEADLINE, take(&mut consumer)).await.context("no delivery arrives")??;
            let start = *start.get_or_insert_with(Instant::now);
            write(&mut database, &batch).await?;
            let last = batch.last().map_or(0, |delivery| delivery.delivery_tag);
            broker::with_deadline(channel.basic_ack(last, BasicAckOptions { multiple: true })).await?;
            rows += batch.len();
            if rows == args.count {
                rows_seconds = start.elapsed().as_secs_f64();
            }
        }
        published += match &mut database {
            Database::Postgres(connection) => postgres::relay(connection, &publisher).await?,
            Database::Sqlite(connection) => sqlite::relay(connection, &publisher).await?,
        };
    }
    let events_seconds = start.context("there was nothing to drain")?.elapsed().as_secs_f64();
    broker::with_deadline(consuming.close(200, "done".into())).await?;
    broker::with_deadline(publishing.close(200, "done".into())).await?;
    let line = json!({ "message": "drained", "rows_seconds": rows_seconds, "events_seconds": events_seconds });
    progress::print(&line.to_string());
    Ok(())
}

/// Waits for a delivery, and returns it with those that are ready.
async fn take(consumer: &mut Consumer) -> Result<Vec<Delivery>> {
    let mut batch = vec![consumer.next().await.context("the consumer has ended")??];
    while batch.len() < BATCH_SIZE {
        match consumer.next().now_or_never() {
            Some(Some(delivery)) => batch.push(delivery?),
            _ => break,
        }
    }
    Ok(batch)
}

async fn write(database: &mut Database, batch: &[Delivery]) -> Result<()> {
    let mut links = batch.iter().map(Linked::read).collect::<Result<Vec<_>>>()?;
    links.sort_unstable_by_key(|link| link.entity_id);
    match database {
        Database::Postgres(connection) => postgres::write(connection, &links).await,
        Database::Sqlite(connection) => sqlite::write(connection, &links).await,
    }
}
