//! Fills the work queue, as the ingress would.

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::place::Place;
use crate::{Bench, broker, progress, webhook};

/// Publishes in flight.
const IN_FLIGHT: usize = 1000;

/// Publishes `count` webhooks, each about another bank link, and sees that they are on the queue.
pub(crate) async fn fill(bench: &Bench, place: &Place, count: usize) -> Result<()> {
    let bar = progress::bar("filling the queue", count);
    let connection = broker::connect(&bench.settings.amqp_url).await?;
    let channel = broker::confirming(&connection).await?;
    let exchange = place.webhooks();
    stream::iter(0..count)
        .map(|_| async {
            let body = webhook::created(Uuid::new_v4());
            let published = broker::publish(&channel, &exchange, "lean", body.as_bytes(), broker::webhook_properties());
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
    let ready = broker::ready(&channel, &place.webhooks()).await?;
    ensure!(ready as usize == count, "{ready} of {count} webhooks are on the queue");
    broker::in_time(connection.close(200, "filled".into())).await
}
