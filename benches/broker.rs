//! Direct access to RabbitMQ, for the bench itself and for its ceilings.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

/// Deadline of every request to RabbitMQ.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
const PERSISTENT: u8 = 2;

pub(crate) async fn connect(url: &str) -> Result<Connection> {
    let connected = with_deadline(Connection::connect(url, ConnectionProperties::default())).await;
    connected.context("cannot connect to RabbitMQ")
}

/// Opens a channel with publisher confirms. Only one task may use it: when several publish on one channel, lapin
/// attributes confirms to the wrong messages.
pub(crate) async fn confirming(connection: &Connection) -> Result<Channel> {
    let channel = with_deadline(connection.create_channel()).await?;
    with_deadline(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// Publishes a mandatory message, and waits until RabbitMQ has confirmed and routed it.
pub(crate) async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    match channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?.await? {
        Confirmation::Ack(None) => Ok(()),
        other => bail!("RabbitMQ did not accept a message: {other:?}"),
    }
}

/// The properties that all messages have in common.
pub(crate) fn properties(id: &str, content_type: &str) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(id.into())
        .with_timestamp(chrono::Utc::now().timestamp().unsigned_abs())
        .with_content_type(content_type.into())
        .with_app_id("banklink".into())
        .with_delivery_mode(PERSISTENT)
}

/// The properties of a webhook as the ingress publishes it.
pub(crate) fn webhook_properties() -> BasicProperties {
    let id = uuid::Uuid::now_v7().to_string();
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    let mut headers = FieldTable::default();
    headers.insert("x-source".into(), AMQPValue::LongString("lean".into()));
    headers.insert("x-received-at".into(), AMQPValue::LongString(now.into()));
    headers.insert("x-attempt".into(), AMQPValue::LongLongInt(1));
    properties(&id, "application/json").with_headers(headers)
}

/// The properties of a dead message as the worker publishes it.
pub(crate) fn dead_properties() -> BasicProperties {
    let properties = webhook_properties();
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in [("x-failure-class", "panicked"), ("x-failure", "a panic at src/bug.rs:1")] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    properties.with_headers(headers)
}

/// Waits until at least `count` messages are ready on a queue.
pub(crate) async fn until_ready(channel: &Channel, queue: &str, count: usize) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let ready = ready(channel, queue).await?;
        if ready as usize >= count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "only {ready} of {count} messages are on {queue}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The number of messages ready on a queue. A quorum queue whose leader is busy reports 0.
pub(crate) async fn ready(channel: &Channel, queue: &str) -> Result<u32> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    Ok(with_deadline(channel.queue_declare(queue.into(), options, FieldTable::default())).await?.message_count())
}

/// Waits for RabbitMQ at most until the deadline.
pub(crate) async fn with_deadline<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(DEADLINE, work).await;
    ensure!(answer.is_ok(), "RabbitMQ did not answer within {DEADLINE:?}");
    Ok(answer??)
}
