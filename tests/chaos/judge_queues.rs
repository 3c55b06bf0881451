//! The queues of the judge: one receives every event, the other a copy of every message that goes to a retry tier.

use lapin::options::{BasicGetOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

use crate::evidence::{Evidence, RetryCopy};
use crate::settings::{NAMESPACE, RETRY_SCHEDULE};

const EVENTS: &str = "chaos-judge.events";
const RETRIES: &str = "chaos-judge.retries";

/// Declares and binds the queues.
pub(crate) async fn declare(amqp_url: &str) -> anyhow::Result<()> {
    let channel = open_channel(amqp_url).await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (queue, exchange, keys) in [
        (EVENTS, format!("{NAMESPACE}.events"), &["#"][..]),
        (RETRIES, format!("{NAMESPACE}.webhooks.retry"), &RETRY_SCHEDULE[..]),
    ] {
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), quorum.clone()).await?;
        for key in keys {
            let (exchange, key) = (exchange.as_str().into(), (*key).into());
            channel.queue_bind(queue.into(), exchange, key, QueueBindOptions::default(), FieldTable::default()).await?;
        }
    }
    Ok(())
}

/// Opens a channel on a new connection, which is closed when the channel is dropped.
pub(crate) async fn open_channel(amqp_url: &str) -> anyhow::Result<Channel> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Takes all messages off the queues and adds them to the evidence.
pub(crate) async fn drain(amqp_url: &str, evidence: &mut Evidence) -> anyhow::Result<()> {
    let channel = open_channel(amqp_url).await?;
    let get = async |queue: &str| channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await;
    while let Some(message) = get(EVENTS).await? {
        evidence.events.push(serde_json::from_slice(&message.data)?);
    }
    while let Some(message) = get(RETRIES).await? {
        let properties = &message.properties;
        let attempt = properties.headers().as_ref().and_then(|headers| headers.inner().get("x-attempt"));
        evidence.retries.push(RetryCopy {
            message_id: properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
            attempt: attempt.and_then(AMQPValue::as_long_long_int).unwrap_or_default(),
            body: message.data.clone(),
        });
    }
    Ok(())
}
