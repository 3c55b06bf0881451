//! The smallest honest subscriber: a queue of its own, bound to the events, acknowledged after each one is dealt with.

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::{Connection, Error, with_deadline};

/// Events in hand, at most.
const PREFETCH: u16 = 100;

/// A subscription to every event from now on. Its queue goes when it does; a service that must not miss any declares a
/// durable one instead.
pub struct EventSubscription {
    channel: Channel,
    stream: lapin::Consumer,
    /// The tag of the event that was handed over last.
    last: Option<u64>,
}

impl EventSubscription {
    /// Declares the queue, binds it to the events, and begins to consume.
    ///
    /// # Errors
    /// When the connection is not there.
    pub async fn open(connection: &Connection) -> Result<Self, Error> {
        let channel = connection.channel().await?;
        let options = QueueDeclareOptions::exclusive().auto_delete();
        let queue =
            with_deadline(channel.queue_declare("".into(), options, FieldTable::default())).await?.name().clone();
        let events = connection.topology().events();
        let options = QueueBindOptions::default();
        with_deadline(channel.queue_bind(
            queue.clone(),
            events.as_str().into(),
            "#".into(),
            options,
            FieldTable::default(),
        ))
        .await?;
        with_deadline(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
        let consumed = channel.basic_consume(queue, "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let stream = with_deadline(consumed).await?;
        Ok(Self { channel, stream, last: None })
    }

    /// Acknowledges the event handed over before, and waits for the next one's body.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn next(&mut self) -> Result<Vec<u8>, Error> {
        if let Some(tag) = self.last.take() {
            with_deadline(self.channel.basic_ack(tag, BasicAckOptions::default())).await?;
        }
        let event = self.stream.next().await.ok_or(Error::Disconnected)??;
        self.last = Some(event.delivery_tag);
        Ok(event.data)
    }
}
