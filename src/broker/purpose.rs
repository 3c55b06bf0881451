//! The purposes that each have a connection of their own.

/// What a connection is for.
///
/// While RabbitMQ blocks a connection, lapin writes nothing on it, acknowledgements included; and one unreadable
/// message ends a whole connection. So publishing, consuming and recording dead messages do not share one.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Publishing.
    Publish,
    /// Consuming the work queue.
    Consume,
    /// Consuming the dead queue, which may hold messages that others published. lapin closes the connection on a short
    /// string that is not UTF-8, which RabbitMQ accepts; upstream considers such a string invalid:
    /// <https://github.com/amqp-rs/amq-protocol/issues/28>.
    Record,
}

impl Purpose {
    /// The name in logs and in RabbitMQ's list of connections.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::Record => "record",
        }
    }
}
