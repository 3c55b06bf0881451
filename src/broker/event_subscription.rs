//! A minimal event subscriber: a queue of its own, bound to the event exchange, and an ack after each event.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::connection::Connection;
use super::error::{Error, within};

/// Maximum number of unacknowledged events.
const PREFETCH: u16 = 100;

/// A subscription to all events published from now on. RabbitMQ deletes its queue when it ends; a service that must not
/// miss an event declares a durable queue instead.
pub struct EventSubscription {
    channel: Channel,
    deadline: Duration,
    stream: lapin::Consumer,
    /// Completes when the connection is lost, which an idle consumer does not report.
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The delivery tag of the last event that [`EventSubscription::next`] returned.
    unacknowledged: Option<u64>,
}

impl EventSubscription {
    /// Declares the queue, binds it to the event exchange and starts to consume it.
    ///
    /// # Errors
    /// Those of [opening a channel](Error).
    pub async fn open(connection: &Connection) -> Result<Self, Error> {
        let ((channel, lost), deadline) = (connection.channel_and_loss().await?, connection.deadline);
        let options = QueueDeclareOptions::exclusive().auto_delete();
        let declared = within(deadline, channel.queue_declare("".into(), options, FieldTable::default())).await?;
        let (queue, events) = (declared.name().clone(), connection.topology().events());
        let (exchange, options) = (events.as_str().into(), QueueBindOptions::default());
        let bound = channel.queue_bind(queue.clone(), exchange, "#".into(), options, FieldTable::default());
        within(deadline, bound).await?;
        within(deadline, channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
        let consumed = channel.basic_consume(queue, "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let stream = within(deadline, consumed).await?;
        Ok(Self { channel, deadline, stream, lost: Box::pin(lost), unacknowledged: None })
    }

    /// Acknowledges the event it returned before, waits for the next one without a deadline, and returns its body.
    ///
    /// # Errors
    /// [`Error::Disconnected`] when the subscription has ended, [`Error::TimedOut`] or [`Error::Amqp`] when it is lost.
    pub async fn next(&mut self) -> Result<Vec<u8>, Error> {
        if let Some(tag) = self.unacknowledged.take() {
            within(self.deadline, self.channel.basic_ack(tag, BasicAckOptions::default())).await?;
        }
        let event = tokio::select! {
            biased;
            event = self.stream.next() => event.ok_or(Error::Disconnected)??,
            () = self.lost.as_mut() => return Err(Error::Disconnected),
        };
        self.unacknowledged = Some(event.delivery_tag);
        Ok(event.data)
    }
}
