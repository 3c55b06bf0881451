//! Fills the work queue as the ingress does, or the dead queue as the worker does.

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::BasicProperties;
use uuid::Uuid;

use crate::sandbox::Sandbox;
use crate::{broker, progress, webhook};

/// Maximum number of unconfirmed publishes.
const IN_FLIGHT: usize = 1000;

/// Publishes `count` webhooks, each about another bank link, and waits until they are on the queue.
pub(crate) async fn fill(sandbox: &Sandbox, count: usize) -> Result<()> {
    publish(sandbox, &sandbox.webhooks(), count, broker::webhook_properties).await
}

/// Publishes `count` dead messages, each about another bank link, and waits until they are on the dead queue.
pub(crate) async fn fill_dead(sandbox: &Sandbox, count: usize) -> Result<()> {
    publish(sandbox, &sandbox.dead(), count, broker::dead_properties).await
}

/// Publishes to an exchange whose queue has the same name.
async fn publish(sandbox: &Sandbox, exchange: &str, count: usize, properties: fn() -> BasicProperties) -> Result<()> {
    let bar = progress::bar("filling the queue", count);
    let connection = broker::connect(&sandbox.amqp_url).await?;
    let channel = broker::confirming(&connection).await?;
    stream::iter(0..count)
        .map(|_| async {
            let body = webhook::created(Uuid::new_v4());
            let published = broker::publish(&channel, exchange, "lean", body.as_bytes(), properties());
            let confirmed = tokio::time::timeout(broker::DEADLINE, published).await;
            ensure!(
                confirmed.is_ok(),
                "RabbitMQ did not confirm within {:?}; is it out of memory or disk?",
                broker::DEADLINE
            );
            bar.inc(1);
            confirmed?
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<Vec<()>>()
        .await?;
    broker::until_ready(&channel, exchange, count).await?;
    broker::with_deadline(connection.close(200, "done".into())).await
}
