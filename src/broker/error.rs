//! The errors of this module, which other modules see instead of lapin's, and the deadline of each request.

use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// How long RabbitMQ may take to answer one request before its channel counts as lost, unless
/// [`Address::with_deadline`](super::Address::with_deadline) sets another time.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// A request to RabbitMQ that failed.
///
/// Every request may fail with [`Error::TimedOut`], and with [`Error::Amqp`] when the channel or the connection is lost,
/// whose unacknowledged messages are then delivered again. What opens a channel also fails with [`Error::Disconnected`]
/// or [`Error::Blocked`] while the connection is not ready, and with [`Error::Mismatch`] when the topology differs.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection; the supervisor is reconnecting.
    #[error("no connection to RabbitMQ")]
    Disconnected,
    /// The connection is up, but no publishing channel is open yet.
    #[error("no publishing channel is open")]
    NoChannel,
    /// RabbitMQ is short of memory or disk and has sent `connection.blocked`.
    #[error("RabbitMQ has blocked publishing")]
    Blocked,
    /// RabbitMQ did not answer within the deadline.
    #[error("RabbitMQ did not answer in time")]
    TimedOut,
    /// RabbitMQ nacked the message: a queue with `reject-publish` is full.
    #[error("RabbitMQ refused the message")]
    Nacked,
    /// RabbitMQ returned the message: it was routed to no queue.
    #[error("RabbitMQ routed the message to no queue")]
    Returned,
    /// An exchange or queue differs in more than a numeric argument. The text names the remedy.
    #[error("{0}")]
    Mismatch(String),
    /// An exchange or queue is missing, which another process may declare. The text names the remedy.
    #[error("{0}")]
    Missing(String),
    /// RabbitMQ refused a declaration because what exists differs (406), in RabbitMQ's words.
    #[error("RabbitMQ: {0}")]
    Precondition(String),
    /// RabbitMQ ended the consumer on this queue. Its unacknowledged deliveries are redelivered.
    #[error("RabbitMQ ended the consumer on {0}")]
    ConsumerEnded(String),
    /// Any other failure, in lapin's words.
    #[error("RabbitMQ: {0}")]
    Amqp(String),
}

impl Error {
    /// The kind of error, for strangers: RabbitMQ's own words name users, hosts, queues and exchanges.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Disconnected => "no connection to RabbitMQ",
            Self::NoChannel => "no publishing channel is open",
            Self::Blocked => "RabbitMQ has blocked publishing",
            Self::TimedOut => "RabbitMQ did not answer in time",
            Self::Nacked => "RabbitMQ refused the message",
            Self::Returned => "RabbitMQ routed the message to no queue",
            Self::Missing(_) => "an exchange or a queue on RabbitMQ is missing",
            Self::Mismatch(_) | Self::Precondition(_) => "an exchange or a queue on RabbitMQ differs",
            Self::ConsumerEnded(_) => "RabbitMQ ended the consumer",
            Self::Amqp(_) => "RabbitMQ failed",
        }
    }

    /// Whether RabbitMQ refused this one message, while it may accept others.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Nacked | Self::Returned)
    }
}

impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            lapin::ErrorKind::ProtocolError(refusal)
                if *refusal.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) =>
            {
                Self::Precondition(refusal.get_message().to_string())
            }
            _ => Self::Amqp(error.to_string()),
        }
    }
}

/// Waits for lapin's answer, which has no deadline of its own. Fails with [`Error::TimedOut`] after `deadline`.
pub(super) async fn within<T>(deadline: Duration, answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Error> {
    Ok(tokio::time::timeout(deadline, answer).await.map_err(|_| Error::TimedOut)??)
}
