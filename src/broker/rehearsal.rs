//! Sends the events of a rehearsal straight to one queue, through the default exchange, and declares nothing.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};

use super::connector::{Address, Purpose, connect};
use super::error::{Error, within};
use super::message::Outgoing;
use crate::domain::rehearsal::RehearsedEvent;

/// Sends `events`, of the rehearsal `id`, to `queue` in their order. Each is confirmed before the next one is sent, so a failure
/// leaves the queue with those before it.
///
/// # Errors
/// [`Error::Returned`] when there is no such queue, [`Error::Nacked`] when it is full, [`Error::Blocked`] while RabbitMQ is short of
/// memory or disk, [`Error::TimedOut`], and [`Error::Amqp`] when RabbitMQ cannot be reached or a right is missing.
pub async fn send_rehearsal(address: &Address, queue: &str, id: &str, events: &[RehearsedEvent]) -> Result<(), Error> {
    let connection = connect(address, Purpose::Publish).await?;
    let channel = within(address.deadline, connection.create_channel()).await?;
    within(address.deadline, channel.confirm_select(ConfirmSelectOptions::default())).await?;
    for event in events {
        let sent = send(&channel, Outgoing::rehearsal(queue, id, event), address.deadline).await;
        match sent {
            Err(Error::TimedOut) if connection.status().blocked() => return Err(Error::Blocked),
            sent => sent?,
        }
    }
    let _ = within(address.deadline, connection.close(200, "sent".into())).await;
    Ok(())
}

/// Publishes one message as mandatory and waits for its confirm. No other is in flight, so a return is this message's.
async fn send(channel: &Channel, outgoing: Outgoing, deadline: Duration) -> Result<(), Error> {
    let Outgoing { exchange, routing_key, properties, body, .. } = outgoing;
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (exchange, routing_key) = (exchange.as_str().into(), routing_key.as_str().into());
    let confirm = within(deadline, channel.basic_publish(exchange, routing_key, options, &body, *properties)).await?;
    match within(deadline, confirm).await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(Error::Returned),
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Nacked),
    }
}
