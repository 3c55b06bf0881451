//! The ceiling of worker and relay: raw lapin and hand-written SQL, one batch after the other, each stage after the last.
//!
//! It makes the same rows, the same events and the same publishes with the same durability. What it leaves out: several webhooks
//! about one link in a batch, values older than the row, retries, dead letters, poison, outages, metrics, logs, shutdown.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use sea_orm::sqlx::{PgConnection, SqliteConnection};
use serde_json::json;
use uuid::Uuid;

use super::event::{CONTENT_TYPE, LINKED, Linked};
use super::{postgres, sqlite};
use crate::args::CeilingDrain;
use crate::{broker, progress};

/// Deliveries in one transaction, and events in one claim.
pub(super) const BATCH: usize = 256;
/// Deliveries in hand.
const PREFETCH: u16 = 1024;
/// Nothing takes that long.
const STUCK: Duration = Duration::from_secs(60);

/// An event off the outbox: id, routing key, JSON.
pub(super) type Pending = (Uuid, String, String);

/// Where events are published.
pub(super) struct Events {
    channel: Channel,
    exchange: String,
}

enum Database {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// Drains that many webhooks and tells, on stderr, how long it took from the first delivery on.
pub(crate) async fn run(args: &CeilingDrain) -> Result<()> {
    let (amqp_url, database_url) = (std::env::var("AMQP_URL")?, std::env::var("DATABASE_URL")?);
    let mut database = if database_url.starts_with("sqlite:") {
        Database::Sqlite(sqlite::connect(&database_url).await?)
    } else {
        Database::Postgres(postgres::connect(&database_url).await?)
    };
    let (publishing, consuming) = (broker::connect(&amqp_url).await?, broker::connect(&amqp_url).await?);
    let events =
        Events { channel: broker::confirming(&publishing).await?, exchange: format!("{}.events", args.namespace) };
    let channel = broker::in_time(consuming.create_channel()).await?;
    broker::in_time(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    let (queue, options) = (format!("{}.webhooks", args.namespace), BasicConsumeOptions::default());
    let mut consumer =
        broker::in_time(channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()))
            .await?;

    let (mut rows, mut published, mut rows_seconds, mut start) = (0, 0, 0.0, None);
    while published < args.count {
        if rows < args.count {
            let batch = tokio::time::timeout(STUCK, take(&mut consumer)).await.context("no delivery comes")??;
            let start = *start.get_or_insert_with(Instant::now);
            write(&mut database, &batch).await?;
            let last = batch.last().map_or(0, |delivery| delivery.delivery_tag);
            broker::in_time(channel.basic_ack(last, BasicAckOptions { multiple: true })).await?;
            rows += batch.len();
            if rows == args.count {
                rows_seconds = start.elapsed().as_secs_f64();
            }
        }
        published += match &mut database {
            Database::Postgres(connection) => postgres::relay(connection, &events).await?,
            Database::Sqlite(connection) => sqlite::relay(connection, &events).await?,
        };
    }
    let events_seconds = start.context("there was nothing to drain")?.elapsed().as_secs_f64();
    broker::in_time(consuming.close(200, "done".into())).await?;
    broker::in_time(publishing.close(200, "done".into())).await?;
    let told = json!({ "message": "drained", "rows_seconds": rows_seconds, "events_seconds": events_seconds });
    progress::say(&told.to_string());
    Ok(())
}

/// Waits for a delivery, and takes what else is ready.
async fn take(consumer: &mut Consumer) -> Result<Vec<Delivery>> {
    let mut batch = vec![consumer.next().await.context("the consumer has ended")??];
    while batch.len() < BATCH {
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

impl Events {
    /// Publishes them all at once, and waits for every confirm.
    pub(super) async fn publish(&self, events: &[Pending]) -> Result<()> {
        let published = events.iter().map(|(id, routing_key, json)| {
            let properties = broker::properties(&id.to_string(), CONTENT_TYPE).with_type(LINKED.into());
            broker::publish(&self.channel, &self.exchange, routing_key, json.as_bytes(), properties)
        });
        tokio::time::timeout(STUCK, try_join_all(published)).await.context("no confirms come")??;
        Ok(())
    }
}
