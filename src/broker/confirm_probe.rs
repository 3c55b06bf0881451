//! Checks that RabbitMQ confirms a message, without touching the queues of the product.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};

use super::connection::Connection;
use super::error::{Error, within};

impl Connection {
    /// Publishes an empty message to a queue of this connection, which goes with it, and returns how long the confirm took.
    ///
    /// # Errors
    /// [`Error::Nacked`] or [`Error::Returned`] if RabbitMQ did not take it; [`Error::TimedOut`], which an alarm causes, too;
    /// [`Error::Blocked`] or [`Error::Disconnected`]; [`Error::Amqp`] if the user lacks a right to such a queue.
    pub async fn probe_confirm(&self) -> Result<Duration, Error> {
        let (connection, deadline) = (self.current()?, self.deadline);
        let channel = within(deadline, connection.create_channel()).await?;
        within(deadline, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let queue = within(deadline, channel.queue_declare("".into(), options, FieldTable::default())).await?;
        let (options, properties) =
            (BasicPublishOptions { mandatory: true, ..Default::default() }, BasicProperties::default());
        let started = Instant::now();
        let publish = channel.basic_publish("".into(), queue.name().clone(), options, b"", properties);
        let confirm = within(deadline, publish).await?;
        match within(deadline, confirm).await? {
            Confirmation::Ack(None) => Ok(started.elapsed()),
            Confirmation::Ack(Some(_)) => Err(Error::Returned),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Nacked),
        }
    }
}
