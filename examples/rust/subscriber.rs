//! A complete subscriber of banklink's events, with lapin and SQLite.
//!
//! It declares a durable queue of its own and the dead-letter queue behind it, catches up once from the stream of events, and
//! then consumes its queue. Each event is handled in one transaction, which also remembers its id; the event is acknowledged
//! after the commit. So an event that arrives again changes nothing, and a process that is killed loses nothing.
//!
//! ```sh
//! AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f SUBSCRIBER_DATABASE=links.db cargo run --example subscriber
//! ```
//!
//! Environment: `AMQP_URL`; `BANKLINK_NAMESPACE` (banklink); `SUBSCRIBER_QUEUE` (accounts.bank-links); `SUBSCRIBER_DATABASE` (a
//! file). It depends on lapin, sqlx, serde_json, anyhow, futures-util and tokio, and on nothing of banklink.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a sample without a logger")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};
use tokio::time::timeout;

const PREFETCH: u16 = 100;
/// How long a pause in what a stream delivers is.
const PAUSE: Duration = Duration::from_secs(1);
/// RabbitMQ counts the events of a stream every 5 s.
const COUNT_INTERVAL: Duration = Duration::from_secs(6);
/// A pause is no end of the stream: RabbitMQ may be slow. One of that length is a failure.
const MAX_SILENCE: Duration = Duration::from_secs(60);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS handled_events (id TEXT PRIMARY KEY, at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS handled_events_at ON handled_events (at);
CREATE TABLE IF NOT EXISTS caught_up (at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS links (
    entity_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, revision INTEGER NOT NULL, permissions TEXT, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS actions (
    entity_id TEXT NOT NULL, event_type TEXT NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (entity_id, event_type));";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let namespace = setting("BANKLINK_NAMESPACE", "banklink");
    let queue = setting("SUBSCRIBER_QUEUE", "accounts.bank-links");
    let mut database = open(&setting("SUBSCRIBER_DATABASE", "subscriber.db")).await?;
    let url = std::env::var("AMQP_URL").context("AMQP_URL is not set")?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    // First the queue, so that no event falls between the stream and the queue; what comes both ways has one id.
    declare(&channel, &namespace, &queue).await?;
    let caught_up: i64 = sqlx::query_scalar("SELECT count(*) FROM caught_up").fetch_one(&mut database).await?;
    if caught_up == 0 {
        catch_up(&connection, &mut database, &format!("{namespace}.events.log")).await?;
        sqlx::query("INSERT INTO caught_up VALUES (unixepoch())").execute(&mut database).await?;
    }
    let mut events = consume(&channel, &queue, FieldTable::default()).await?;
    println!("consuming {queue}");
    while let Some(event) = events.next().await {
        let event = event?;
        if is_handled(&mut database, &event).await? {
            event.ack(BasicAckOptions::default()).await?;
        } else {
            // To the dead-letter queue.
            event.nack(BasicNackOptions { requeue: false, ..Default::default() }).await?;
        }
    }
    // Whatever runs the process starts it again.
    bail!("RabbitMQ ended the consumer")
}

/// Opens the file, in which a commit is on disk when it returns.
async fn open(file: &str) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let mut database = options.connect().await?;
    sqlx::raw_sql(SCHEMA).execute(&mut database).await?;
    Ok(database)
}

/// Declares what this subscriber owns. What may fail is never dropped: it goes to the dead-letter queue.
async fn declare(channel: &Channel, namespace: &str, queue: &str) -> Result<()> {
    let (dead, events) = (format!("{queue}.dead"), format!("{namespace}.events"));
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(dead.as_str().into(), ExchangeKind::Fanout, durable, FieldTable::default()).await?;
    let quorum = arguments(&[("x-queue-type", text("quorum"))]);
    channel.queue_declare(dead.as_str().into(), QueueDeclareOptions::durable(), quorum).await?;
    bind(channel, &dead, &dead, "").await?;
    let arguments = arguments(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(20)),
        ("x-dead-letter-exchange", text(&dead)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]);
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    bind(channel, queue, &events, "customer.*").await
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let options = QueueBindOptions::default();
    Ok(channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await?)
}

/// Reads the stream from its beginning to its present end.
async fn catch_up(connection: &Connection, database: &mut SqliteConnection, log: &str) -> Result<()> {
    let Some(end) = end_of(connection, log).await? else { return Ok(()) };
    let (channel, mut events) = read(connection, log, "first", PREFETCH).await?;
    loop {
        let event = timeout(MAX_SILENCE, events.next()).await.context("the stream is not delivered")?;
        let event = event.context("RabbitMQ ended the consumer")??;
        // What this code cannot read cannot be rejected here: a stream refuses that, and keeps it anyway.
        is_handled(database, &event).await?;
        event.ack(BasicAckOptions::default()).await?;
        if offset(&event)? >= end {
            return Ok(channel.close(200, "read".into()).await?);
        }
    }
}

/// The offset of the newest event of the stream, however late it arrives; `None` if there is none.
async fn end_of(connection: &Connection, log: &str) -> Result<Option<i64>> {
    let started = Instant::now();
    // RabbitMQ sends the last chunk of events and, as nothing is acknowledged, no more than that.
    let (channel, mut events) = read(connection, log, "last", 1).await?;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let mut end = None;
    loop {
        if let Ok(event) = timeout(PAUSE, events.next()).await {
            end = Some(offset(&event.context("RabbitMQ ended the consumer")??)?);
            continue;
        }
        let counted = channel.queue_declare(log.into(), passive, FieldTable::default()).await?.message_count();
        if end.is_some() || (counted == 0 && started.elapsed() > COUNT_INTERVAL) {
            channel.close(200, "read".into()).await?;
            return Ok(end);
        }
        if started.elapsed() > MAX_SILENCE {
            bail!("the stream is not delivered");
        }
    }
}

/// Consumes the stream from there on, on a channel of its own.
async fn read(connection: &Connection, log: &str, from: &str, prefetch: u16) -> Result<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let events = consume(&channel, log, arguments(&[("x-stream-offset", text(from))])).await?;
    Ok((channel, events))
}

/// Where in the stream an event is.
fn offset(event: &Delivery) -> Result<i64> {
    let headers = event.properties.headers().as_ref().map(FieldTable::inner);
    match headers.and_then(|headers| headers.get("x-stream-offset")) {
        Some(AMQPValue::LongLongInt(offset)) => Ok(*offset),
        _ => bail!("an event of the stream has no offset"),
    }
}

async fn consume(channel: &Channel, queue: &str, arguments: FieldTable) -> Result<Consumer> {
    Ok(channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), arguments).await?)
}

/// Handles one message, unless this code cannot read it. An error of the database ends the process, and the event comes again.
async fn is_handled(database: &mut SqliteConnection, message: &Delivery) -> Result<bool> {
    let Some(event) = Event::read(&message.data) else {
        eprintln!("rejected a message");
        return Ok(false);
    };
    handle(database, &event).await?;
    Ok(true)
}

/// What this subscriber reads of an event. It accepts members that it does not know.
struct Event {
    id: String,
    event_type: String,
    entity_id: String,
    customer_id: String,
    revision: i64,
    data: Value,
}

impl Event {
    fn read(body: &[u8]) -> Option<Self> {
        let event: Value = serde_json::from_slice(body).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let data = event["data"].clone();
        Some(Self {
            id: text(&event["id"])?,
            event_type: text(&event["type"])?,
            entity_id: text(&data["entity_id"])?,
            customer_id: text(&data["customer_id"])?,
            revision: data["revision"].as_i64()?,
            data,
        })
    }
}

/// Handles one event in one transaction.
async fn handle(database: &mut SqliteConnection, event: &Event) -> Result<()> {
    let mut transaction = database.begin_with("BEGIN IMMEDIATE").await?;
    let remember = "INSERT INTO handled_events VALUES (?, unixepoch()) ON CONFLICT DO NOTHING";
    if sqlx::query(remember).bind(&event.id).execute(&mut *transaction).await?.rows_affected() > 0 {
        // A month later an event no longer comes again.
        let forget = "DELETE FROM handled_events WHERE at < unixepoch() - 30 * 86400";
        sqlx::query(forget).execute(&mut *transaction).await?;
        // The work of this subscriber: here, once per event. In a real one: send a welcome, refresh the balance.
        sqlx::query("INSERT INTO actions VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1")
            .bind(&event.entity_id)
            .bind(&event.event_type)
            .execute(&mut *transaction)
            .await?;
        // The data is the whole link as of its revision, so an event that was overtaken changes nothing.
        let store = "INSERT INTO links VALUES (?, ?, ?, ?, ?) ON CONFLICT (entity_id) DO UPDATE SET
            customer_id = excluded.customer_id, revision = excluded.revision, permissions = excluded.permissions,
            data = excluded.data WHERE excluded.revision >= links.revision";
        sqlx::query(store)
            .bind(&event.entity_id)
            .bind(&event.customer_id)
            .bind(event.revision)
            .bind(event.data["permissions"].to_string())
            .bind(event.data.to_string())
            .execute(&mut *transaction)
            .await?;
    }
    Ok(transaction.commit().await?)
}

fn setting(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn arguments(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}
