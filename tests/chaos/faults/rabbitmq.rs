//! RabbitMQ is restarted or killed or raises a memory alarm, its connections are closed, its work queue is deleted, or one of its nodes
//! is killed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use lapin::options::QueueDeleteOptions;
use tokio::time::{Instant, sleep};

use crate::judge_queues::open_channel;
use crate::rng::Rng;
use crate::settings::NAMESPACE;
use crate::testbed::Testbed;

const DOWN: Duration = Duration::from_secs(2);
const NODE_DOWN: Duration = Duration::from_secs(8);
const ALARM: Duration = Duration::from_secs(6);
/// How long before the deletion of the queue the load stops, so that few webhooks are deleted with it.
const LOAD_PAUSE: Duration = Duration::from_secs(3);

pub(super) async fn restart(testbed: &Testbed) -> anyhow::Result<String> {
    let services = &testbed.services[0];
    services.stop("rabbitmq").await;
    sleep(DOWN).await;
    services.start("rabbitmq").await;
    Ok(String::new())
}

pub(super) async fn kill(testbed: &Testbed) -> anyhow::Result<String> {
    kill_node(testbed, 0, DOWN).await;
    Ok(String::new())
}

pub(super) async fn raise_memory_alarm(testbed: &Testbed) -> anyhow::Result<String> {
    let services = &testbed.services[0];
    services.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    sleep(ALARM).await;
    services.ctl(&["set_vm_memory_high_watermark", "absolute", "1GB"]).await;
    Ok("publishers blocked".to_owned())
}

pub(super) async fn close_connections(testbed: &Testbed) -> anyhow::Result<String> {
    testbed.services[0].ctl(&["close_all_connections", "--vhost", "/", "chaos"]).await;
    Ok("all of them".to_owned())
}

/// The messages on the queue are deleted with it. The judge treats webhooks posted shortly before as without a clear answer.
pub(super) async fn delete_queue(testbed: &Testbed) -> anyhow::Result<String> {
    testbed.load_paused.store(true, Ordering::Relaxed);
    sleep(LOAD_PAUSE).await;
    let channel = open_channel(testbed.amqp_url()).await?;
    let queue = format!("{NAMESPACE}.webhooks");
    let messages = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
    testbed.queue_deletions.lock().expect("not poisoned").push(Instant::now());
    testbed.load_paused.store(false, Ordering::Relaxed);
    Ok(format!("with {} messages on it", messages?))
}

/// Kills a node that does not lead the work queue.
pub(super) async fn kill_follower(testbed: &Testbed, rng: &mut Rng) -> anyhow::Result<String> {
    let leader = leader(testbed).await?;
    let followers: Vec<usize> = (0..testbed.services.len()).filter(|node| *node != leader).collect();
    let node = *rng.choose(&followers);
    kill_node(testbed, node, NODE_DOWN).await;
    Ok(format!("node {node}"))
}

/// Kills the node that leads the work queue.
pub(super) async fn kill_leader(testbed: &Testbed) -> anyhow::Result<String> {
    let node = leader(testbed).await?;
    kill_node(testbed, node, NODE_DOWN).await;
    Ok(format!("node {node}"))
}

async fn kill_node(testbed: &Testbed, node: usize, down: Duration) {
    let services = &testbed.services[node];
    services.kill("rabbitmq").await;
    sleep(down).await;
    services.start("rabbitmq").await;
}

/// The number of the node that leads the work queue.
async fn leader(testbed: &Testbed) -> anyhow::Result<usize> {
    let queues = testbed.list_queues(&["name", "leader"]).await?;
    let work = queues.iter().find(|queue| queue["name"] == format!("{NAMESPACE}.webhooks"));
    let leader = work.and_then(|queue| queue["leader"].as_str()).context("the work queue has no leader")?;
    // The name of a node contains its port.
    let leads = |url: &str| url::Url::parse(url).ok()?.port().map(|port| leader.contains(&format!("-{port}@")));
    let node = testbed.services.iter().position(|services| leads(&services.amqp_url) == Some(true));
    node.with_context(|| format!("no node is called {leader}"))
}
