//! RabbitMQ restarted, killed, out of memory; its connections closed, its queue deleted, a node of three gone.

use std::time::Duration;

use anyhow::Context;
use lapin::options::QueueDeleteOptions;
use serde_json::Value;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::evidence;
use crate::world::{NAMESPACE, World};

/// How long the broker stays away.
const AWAY: Duration = Duration::from_secs(2);
const BLOCKED: Duration = Duration::from_secs(6);
const NODE_AWAY: Duration = Duration::from_secs(8);

pub(crate) async fn restart(world: &World) -> anyhow::Result<String> {
    world.brokers[0].stop("rabbitmq").await;
    sleep(AWAY).await;
    world.brokers[0].start("rabbitmq").await;
    Ok(String::new())
}

pub(crate) async fn kill(world: &World) -> anyhow::Result<String> {
    world.brokers[0].kill("rabbitmq").await;
    sleep(AWAY).await;
    world.brokers[0].start("rabbitmq").await;
    Ok(String::new())
}

pub(crate) async fn memory_alarm(world: &World) -> anyhow::Result<String> {
    world.brokers[0].ctl(&["set_vm_memory_high_watermark", "0"]).await;
    sleep(BLOCKED).await;
    world.brokers[0].ctl(&["set_vm_memory_high_watermark", "absolute", "1GB"]).await;
    Ok("publishers blocked".to_owned())
}

pub(crate) async fn connections_closed(world: &World) -> anyhow::Result<String> {
    world.brokers[0].ctl(&["close_all_connections", "--vhost", "/", "chaos"]).await;
    Ok("all of them".to_owned())
}

/// Deleting a queue deletes what is on it: so the load pauses, and what was posted just before is doubtful.
pub(crate) async fn queue_deleted(world: &World) -> anyhow::Result<String> {
    world.hold();
    sleep(Duration::from_secs(3)).await;
    let channel = evidence::channel(world).await?;
    let queue = format!("{NAMESPACE}.webhooks");
    let held = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
    world.note_deletion();
    world.let_go();
    Ok(format!("with {} messages on it", held?))
}

/// A node that does not lead the work queue dies and comes back.
pub(crate) async fn node_kill(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    let leader = leader(world).await?;
    let others: Vec<usize> = (0..world.brokers.len()).filter(|node| *node != leader).collect();
    let node = *chance.pick(&others);
    gone_for_a_while(world, node).await;
    Ok(format!("node {node}"))
}

/// The node that leads the work queue dies and comes back.
pub(crate) async fn leader_kill(world: &World, _chance: &mut Chance) -> anyhow::Result<String> {
    let node = leader(world).await?;
    gone_for_a_while(world, node).await;
    Ok(format!("node {node}"))
}

async fn gone_for_a_while(world: &World, node: usize) {
    world.brokers[node].kill("rabbitmq").await;
    sleep(NODE_AWAY).await;
    world.brokers[node].start("rabbitmq").await;
}

/// Which node leads the work queue.
async fn leader(world: &World) -> anyhow::Result<usize> {
    let listed = world.brokers[0].ctl(&["--silent", "--formatter", "json", "list_queues", "name", "leader"]).await;
    let queues: Vec<Value> = serde_json::from_str(&listed)?;
    let work = queues.iter().find(|queue| queue["name"] == format!("{NAMESPACE}.webhooks"));
    let leader = work.and_then(|queue| queue["leader"].as_str()).context("the work queue has no leader")?;
    // A node is named after its port.
    let leads = |url: &str| url::Url::parse(url).ok()?.port().map(|port| leader.contains(&format!("-{port}@")));
    let node = world.brokers.iter().position(|broker| leads(&broker.amqp_url) == Some(true));
    node.with_context(|| format!("no node is called {leader}"))
}
