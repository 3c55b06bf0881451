//! How full the queues of the topology are, for people who look. It takes no right on the broker.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::connection::Connection;
use super::error::{Error, within};
use super::topology::Declaration;

/// A queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// How many messages wait on it; not those that a consumer has and has not acknowledged.
    pub messages: u32,
    /// How many consumers it has.
    pub consumers: u32,
}

/// The state of each queue of the topology, the stream of events aside, whose messages RabbitMQ does not count.
///
/// # Errors
/// Those of [opening a channel](Error), and [`Error::Amqp`] if a queue does not exist.
pub async fn queue_states(connection: &Connection) -> Result<Vec<QueueState>, Error> {
    let (topology, deadline) = (connection.topology(), connection.deadline);
    let channel = within(deadline, connection.current()?.create_channel()).await?;
    let mut states = Vec::new();
    for declaration in topology.declarations() {
        let Declaration::Queue { name, .. } = declaration else { continue };
        if name == topology.event_log() {
            continue;
        }
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue =
            within(deadline, channel.queue_declare(name.as_str().into(), options, FieldTable::default())).await?;
        states.push(QueueState { name, messages: queue.message_count(), consumers: queue.consumer_count() });
    }
    let _ = within(deadline, channel.close(200, "read".into())).await;
    Ok(states)
}
