//! Fills the work queue, as the ingress would, or the dead queue, as the worker would.

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::BasicProperties;
use uuid::Uuid;

use crate::place::Place;
use crate::{Bench, broker, progress, webhook};

/// Publishes in flight.
const IN_FLIGHT: usize = 1000;

/// Publishes `count` webhooks, each about another bank link, and sees that they are on the queue.
pub(crate) async fn fill(bench: &Bench, place: &Place, count: usize) -> Result<()> {
    publish(bench, &place.webhooks(), count, broker::webhook_properties).await
}

/// Publishes as many dead ones, onto the queue from which the worker records them.
pub(crate) async fn fill_dead(bench: &Bench, place: &Place, count: usize) -> Result<()> {
    publish(bench, &place.dead(), count, broker::dead_properties).await
}

/// To an exchange, and onto the queue of the same name.
async fn publish(bench: &Bench, exchange: &str, count: usize, properties: fn() -> BasicProperties) -> Result<()> {
    let bar = progress::bar("filling the queue", count);
    let connection = broker::connect(&bench.settings.amqp_url).await?;
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
    broker::holds(&channel, exchange, count).await?;
    broker::in_time(connection.close(200, "filled".into())).await
}
