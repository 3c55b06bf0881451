//! The purposes that each have a connection of their own.

/// What a connection is for.
///
/// While RabbitMQ blocks a connection, lapin writes nothing on it, acknowledgements included, as
/// <https://github.com/amqp-rs/lapin/issues/443> confirms; so publishing and consuming do not share one.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Publishing.
    Publish,
    /// Consuming the work queue.
    Consume,
    /// Consuming the dead queue, which may hold messages that lapin cannot read. RabbitMQ accepts a short string that is
    /// not UTF-8; lapin drops the whole connection on it, and upstream considers such a string invalid
    /// (<https://github.com/amqp-rs/amq-protocol/issues/28>). Recording can share the connection for consuming once such
    /// a message costs lapin at most a channel.
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
