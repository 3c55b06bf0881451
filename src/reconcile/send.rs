//! Sends missing webhooks: to the work queue, like any other.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tracing::warn;

use crate::broker::{Error, Message, Outgoing, Publisher, REQUEST_DEADLINE};
use crate::domain::listed::ListedWebhook;
use crate::domain::timestamp::Timestamp;
use crate::reconnect::RetryLimit;

/// The `x-source` of what reconciling sends.
const SOURCE: &str = "lean-events";
/// Maximum delay between attempts while RabbitMQ is unavailable, before jitter.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Publishes `webhooks` and waits until RabbitMQ has confirmed every one. Repeats what it did not confirm, within `limit`.
///
/// # Errors
/// The last [`Error`], when the limit is reached. Webhooks may have been published; the next run publishes them under the same ids.
pub(super) async fn send(publisher: &Publisher, webhooks: &[ListedWebhook], limit: RetryLimit) -> Result<(), Error> {
    let mut unconfirmed: Vec<&ListedWebhook> = webhooks.iter().collect();
    let mut retries = limit.start(MAX_RETRY_INTERVAL);
    loop {
        let topology = publisher.connection().topology();
        let publish = |webhook: &&ListedWebhook| {
            publisher.publish(Outgoing::webhook(topology, &message(webhook)), REQUEST_DEADLINE)
        };
        let results = join_all(unconfirmed.iter().map(publish)).await;
        let (mut failed, mut last_error) = (Vec::new(), None);
        for (webhook, result) in unconfirmed.into_iter().zip(results) {
            if let Err(error) = result {
                failed.push(webhook);
                last_error = Some(error);
            }
        }
        let Some(cause) = last_error else { return Ok(()) };
        let Some(delay) = retries.next_delay(Duration::ZERO) else { return Err(cause) };
        warn!(%cause, webhooks = failed.len(), "missing webhooks wait for RabbitMQ; retrying in {delay:?}");
        sleep(delay).await;
        unconfirmed = failed;
    }
}

fn message(webhook: &ListedWebhook) -> Message {
    let received = Message::received(webhook.body.clone(), Timestamp::now(), None);
    Message { id: webhook.message_id.to_string(), source: Some(SOURCE.to_owned()), ..received }
}
