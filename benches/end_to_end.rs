//! The latency from a post to its event at a subscriber, at a steady rate.
//!
//! Posts are sent on a schedule, whether or not earlier ones are answered. The latency runs from the sending until the
//! subscriber, on a quorum queue as the README recommends, has received the event. The first second is a warm-up and
//! does not count.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use serde::Deserialize;
use uuid::Uuid;

use crate::args::Database;
use crate::bench::Bench;
use crate::process::Running;
use crate::report::{Figure, format_value};
use crate::sandbox::Sandbox;
use crate::steady::post_steadily;
use crate::{broker, progress, stats, webhook};

/// Posts a second.
const RATES: [u32; 2] = [200, 1000];
/// How long after the last post the last event may arrive.
const EVENT_DEADLINE: Duration = Duration::from_secs(60);
/// How many publishes, one after the other, the time of a confirm is measured with.
const CONFIRMS: usize = 500;
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// How many processes run the roles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Processes {
    One,
    Three,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let setups: Vec<_> =
        RATES.into_iter().flat_map(|rate| [(rate, Processes::One), (rate, Processes::Three)]).collect();
    let mut measured: Vec<Vec<Vec<Duration>>> = vec![Vec::new(); setups.len()];
    let mut confirm = Vec::new();
    for _ in 0..bench.settings.repeat {
        confirm.push(time_of_confirm(bench).await.context("end to end, one confirm")?);
        for ((rate, processes), measured) in setups.iter().zip(&mut measured) {
            let what = name(*rate, *processes);
            let took = post_to_event(bench, *rate, *processes, &what).await.with_context(|| what.clone())?;
            progress::print(&format!("{what}: p99 {} ms", format_value(stats::quantile(&took, 0.99))));
            measured.push(took);
        }
    }
    let mut figures = vec![Figure::new("one publish until its confirm, p50", "ms", confirm.clone())];
    for ((rate, processes), measured) in setups.iter().zip(&measured) {
        for (quantile, share) in QUANTILES {
            let values = measured.iter().map(|took| stats::quantile(took, share)).collect();
            let figure = Figure::new(format!("{}, {quantile}", name(*rate, *processes)), "ms", values);
            figures.push(figure.compared_to("one confirm, p50", confirm.clone()));
        }
    }
    Ok(figures)
}

fn name(rate: u32, processes: Processes) -> String {
    let processes = match processes {
        Processes::One => "one process",
        Processes::Three => "three processes",
    };
    format!("post to event, {rate}/s, {processes}")
}

/// The latencies, sorted.
pub(crate) async fn post_to_event(bench: &Bench, rate: u32, processes: Processes, what: &str) -> Result<Vec<Duration>> {
    let sandbox = bench.sandbox(Database::Postgres).await?;
    let connection = broker::connect(&sandbox.amqp_url).await?;
    let subscriber = broker::with_deadline(connection.create_channel()).await?;
    subscribe(&subscriber, &sandbox).await?;
    let (running, address) = start(&sandbox, processes).await?;

    let count = (rate * (1 + bench.settings.seconds)) as usize;
    let entities: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
    let key = webhook::key(webhook::SECRET)?;
    let posts = entities.iter().map(|entity| webhook::post(&key, &webhook::created(*entity))).collect();
    let deadline = Duration::from_secs(u64::from(1 + bench.settings.seconds)) + EVENT_DEADLINE;
    let both =
        async { tokio::try_join!(post_steadily(&address, posts, rate), receive(&subscriber, &sandbox, count, what)) };
    let (sent, received) = tokio::time::timeout(deadline, both).await.context("not every event arrived in time")??;

    for process in running {
        process.stop().await?;
    }
    broker::with_deadline(connection.close(200, "done".into())).await?;
    bench.remove(&sandbox).await;
    let warm = entities.iter().zip(sent).skip(rate as usize);
    let took = warm.map(|(entity, sent)| Some(received.get(entity)?.duration_since(sent)));
    let mut took = took.collect::<Option<Vec<_>>>().context("a post has no event")?;
    took.sort_unstable();
    Ok(took)
}

/// Starts every role, and returns the processes and the address of the ingress.
async fn start(sandbox: &Sandbox, processes: Processes) -> Result<(Vec<Running>, String)> {
    let roles: &[&[&str]] = match processes {
        Processes::One => &[&["run"]],
        Processes::Three => &[&["run", "ingress"], &["run", "worker"], &["run", "relay"]],
    };
    let mut running = Vec::new();
    for arguments in roles {
        let mut process = Running::start(sandbox.banklink(arguments))?;
        process.ready().await?;
        running.push(process);
    }
    let address = running[0].ingress().await?;
    Ok((running, address))
}

async fn subscribe(channel: &Channel, sandbox: &Sandbox) -> Result<()> {
    let (queue, events) = (sandbox.subscriber(), sandbox.events());
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let declared = channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), quorum);
    broker::with_deadline(declared).await?;
    let (queue, events) = (queue.as_str().into(), events.as_str().into());
    let bound = channel.queue_bind(queue, events, "#".into(), QueueBindOptions::default(), FieldTable::default());
    broker::with_deadline(bound).await
}

#[derive(Deserialize)]
struct Event {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    entity_id: Uuid,
}

/// Receives events of `count` bank links, and returns when the first event of each arrived.
async fn receive(channel: &Channel, sandbox: &Sandbox, count: usize, what: &str) -> Result<HashMap<Uuid, Instant>> {
    use futures_util::StreamExt;
    let bar = progress::bar(what, count);
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consumer = channel.basic_consume(sandbox.subscriber().into(), "".into(), options, FieldTable::default());
    let mut consumer = broker::with_deadline(consumer).await?;
    let mut received = HashMap::with_capacity(count);
    while received.len() < count {
        let event = consumer.next().await.context("the subscriber's consumer has ended")??;
        let now = Instant::now();
        let event: Event = serde_json::from_slice(&event.data)?;
        received.entry(event.data.entity_id).or_insert(now);
        bar.inc(1);
    }
    Ok(received)
}

/// The median time from a single publish to its confirm, without other load.
async fn time_of_confirm(bench: &Bench) -> Result<f64> {
    let sandbox = bench.sandbox(Database::Sqlite).await?;
    let connection: Connection = broker::connect(&sandbox.amqp_url).await?;
    let channel = broker::confirming(&connection).await?;
    let mut took = Vec::new();
    for _ in 0..CONFIRMS {
        let body = webhook::created(Uuid::new_v4());
        let (exchange, properties, sent) = (sandbox.webhooks(), broker::webhook_properties(), Instant::now());
        let published = broker::publish(&channel, &exchange, "lean", body.as_bytes(), properties);
        tokio::time::timeout(broker::DEADLINE, published).await.context("no confirm arrives")??;
        took.push(sent.elapsed());
    }
    took.sort_unstable();
    broker::with_deadline(connection.close(200, "done".into())).await?;
    bench.remove(&sandbox).await;
    Ok(stats::quantile(&took, 0.5))
}
