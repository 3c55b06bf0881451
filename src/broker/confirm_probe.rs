//! Checks that RabbitMQ confirms a message as it would on the work queue, without touching the queues of the product.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use uuid::Uuid;

use super::connection::Connection;
use super::error::{Error, within};
use super::headers::{table, text};

/// RabbitMQ deletes the queue after this time, in ms, if the probe was killed before it could.
const QUEUE_EXPIRY_MS: i64 = 60_000;

impl Connection {
    /// Publishes an empty persistent message to a quorum queue of its own, and returns how long the confirm took: until a majority of
    /// the queue's members had it on disk. The queue is deleted then.
    ///
    /// # Errors
    /// [`Error::Nacked`] or [`Error::Returned`] if RabbitMQ did not take it; [`Error::TimedOut`], which an alarm causes, too;
    /// [`Error::Blocked`] or [`Error::Disconnected`]; [`Error::Amqp`] if the user lacks a right to such a queue.
    pub async fn probe_confirm(&self) -> Result<Duration, Error> {
        let (connection, deadline) = (self.current()?, self.deadline);
        let channel = within(deadline, connection.create_channel()).await?;
        within(deadline, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let arguments = table([("x-queue-type", text("quorum")), ("x-expires", QUEUE_EXPIRY_MS.into())]);
        // RabbitMQ names no quorum queues itself.
        let name = self.topology().probe_queue(Uuid::new_v4());
        let queue = channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments);
        let queue = within(deadline, queue).await?;
        let confirmed = confirm_on(&channel, queue.name(), deadline).await;
        // If that fails, it expires.
        let _ = within(deadline, channel.queue_delete(queue.name().clone(), QueueDeleteOptions::default())).await;
        confirmed
    }
}

async fn confirm_on(channel: &Channel, queue: &ShortString, deadline: Duration) -> Result<Duration, Error> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let started = Instant::now();
    let publish = channel.basic_publish("".into(), queue.clone(), options, b"", properties);
    let confirm = within(deadline, publish).await?;
    match within(deadline, confirm).await? {
        Confirmation::Ack(None) => Ok(started.elapsed()),
        Confirmation::Ack(Some(_)) => Err(Error::Returned),
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Nacked),
    }
}
