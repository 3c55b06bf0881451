//! Waits for quiet, and collects the evidence.

use std::time::Duration;

use entity::{bank_link, dead_letter, outbox_event};
use lapin::options::{BasicGetOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::Value;
use tokio::time::Instant;

use crate::audit;
use crate::judge::{Evidence, RetryCopy, Verdict, judge};
use crate::plan::{Length, Scenario};
use crate::world::{NAMESPACE, TIERS, World};

/// Nothing may be seen for that long: RabbitMQ counts a quorum queue anew every 5 s.
const QUIET: Duration = Duration::from_secs(11);
const LOOK: Duration = Duration::from_secs(4);

/// The queues of the judge's own: every event, and every copy that goes to a retry tier.
const EVENTS: &str = "chaos-judge.events";
const RETRIES: &str = "chaos-judge.retries";

/// What was drained from the judge's queues so far.
#[derive(Default)]
pub(crate) struct Drained {
    events: Vec<Value>,
    retries: Vec<RetryCopy>,
}

/// Declares the judge's queues.
pub(crate) async fn listen(world: &World) -> anyhow::Result<()> {
    let channel = channel(world).await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (queue, exchange, keys) in [
        (EVENTS, format!("{NAMESPACE}.events"), &["#"][..]),
        (RETRIES, format!("{NAMESPACE}.webhooks.retry"), &TIERS[..]),
    ] {
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), quorum.clone()).await?;
        for key in keys {
            let (exchange, key) = (exchange.as_str().into(), (*key).into());
            channel.queue_bind(queue.into(), exchange, key, QueueBindOptions::default(), FieldTable::default()).await?;
        }
    }
    Ok(())
}

pub(crate) async fn channel(world: &World) -> anyhow::Result<Channel> {
    let connection = Connection::connect(&world.brokers[0].amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Waits for quiet and judges. After a full run no earlier than `patience` after the last fault, when RabbitMQ can hold nothing
/// unseen any more; after a quick one as soon as the verdict is good, and no later than that.
pub(crate) async fn conclude(world: &World, patience: Duration, length: Length) -> anyhow::Result<Verdict> {
    let patient = world.last_fault() + patience;
    if length == Length::Full {
        tokio::time::sleep_until(patient).await;
    }
    let deadline = patient.max(Instant::now() + QUIET * 4);
    let mut drained = Drained::default();
    loop {
        let noise = until_quiet(world, deadline).await;
        let mut verdict = judge(&collect(world, &mut drained).await?);
        if let Some(noise) = noise {
            verdict.bad(format!("not quiet {patience:?} after the last fault: {noise}"));
        }
        if verdict.is_good() || Instant::now() > deadline {
            return Ok(verdict);
        }
        world.say(&format!("not good yet: {}", verdict.findings[0]));
    }
}

/// Waits until nothing is on its way; what still is at the deadline.
async fn until_quiet(world: &World, deadline: Instant) -> Option<String> {
    let mut since: Option<Instant> = None;
    loop {
        let noise = match noise(world).await {
            Ok(noise) => noise,
            Err(cause) => Some(format!("cannot look: {cause}")),
        };
        match noise {
            None if since.is_some_and(|since| since.elapsed() > QUIET) => return None,
            None => since = since.or(Some(Instant::now())),
            Some(noise) if Instant::now() > deadline => return Some(noise),
            Some(_) => since = None,
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is on its way.
async fn noise(world: &World) -> anyhow::Result<Option<String>> {
    let pending = outbox_event::Entity::find().count(&world.database().await?).await?;
    if pending > 0 {
        return Ok(Some(format!("{pending} events in the outbox")));
    }
    // `messages` counts what is ready, unacknowledged, and what RabbitMQ itself holds on the way to a dead-letter exchange.
    let listed = world.brokers[0].ctl(&["--silent", "--formatter", "json", "list_queues", "name", "messages"]).await;
    let queues: Vec<Value> = serde_json::from_str(&listed)?;
    let ours = queues.iter().filter(|queue| {
        let name = queue["name"].as_str().unwrap_or_default();
        name.starts_with(&format!("{NAMESPACE}.webhooks"))
    });
    let busy = ours.filter(|queue| queue["messages"] != 0);
    Ok(busy.map(ToString::to_string).next())
}

async fn collect(world: &World, drained: &mut Drained) -> anyhow::Result<Evidence> {
    drain(world, drained).await?;
    let database = world.database().await?;
    Ok(Evidence {
        posts: world.ledger.posts(),
        rows: bank_link::Entity::find().all(&database).await?,
        letters: dead_letter::Entity::find().all(&database).await?,
        images: audit::images(&database).await?,
        events: drained.events.clone(),
        retries: drained.retries.clone(),
        deletions: world.deletions(),
        tries: i64::try_from(TIERS.len())? + 1,
        tells_rows_apart: world.scenario != Scenario::Sqlite,
    })
}

async fn drain(world: &World, drained: &mut Drained) -> anyhow::Result<()> {
    let channel = channel(world).await?;
    let get = async |queue: &str| channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await;
    while let Some(message) = get(EVENTS).await? {
        drained.events.push(serde_json::from_slice(&message.data)?);
    }
    while let Some(message) = get(RETRIES).await? {
        let properties = &message.properties;
        let attempt = properties.headers().as_ref().and_then(|headers| headers.inner().get("x-attempt"));
        drained.retries.push(RetryCopy {
            message_id: properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
            attempt: attempt.and_then(AMQPValue::as_long_long_int).unwrap_or_default(),
            body: message.data.clone(),
        });
    }
    Ok(())
}
