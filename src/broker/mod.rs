//! RabbitMQ: the only home of lapin.
//!
//! lapin is used where it is sure: without its own recovery, with publishing and consuming on separate connections, one
//! task for each publishing channel, and a deadline on every await.

mod acks;
mod address;
mod confirms;
mod connection;
mod connector;
mod consumer;
mod death;
mod declare;
mod event_subscription;
mod inspection;
mod message;
mod publisher;
mod topology;

use std::time::Duration;

pub use address::Address;
pub use connection::{Connection, Purpose, Supervisor};
pub use consumer::{Consumer, Delivery};
pub use death::Death;
pub use event_subscription::EventSubscription;
pub use inspection::Inspection;
pub use message::{Message, Outgoing};
pub use publisher::{Publisher, Readiness};
pub use topology::Topology;

/// How long RabbitMQ may take to answer one request before the channel counts as lost.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What can go wrong with the broker.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection just now; the supervisor is making one.
    #[error("no connection to RabbitMQ")]
    Disconnected,
    /// There is a connection, but no channel to publish on yet.
    #[error("no publishing channel is open")]
    NoChannel,
    /// RabbitMQ has run short of memory or disk and takes nothing in.
    #[error("RabbitMQ has blocked publishing")]
    Blocked,
    /// No answer within the deadline.
    #[error("RabbitMQ did not answer in time")]
    TimedOut,
    /// RabbitMQ refused to take the message (a full queue with `reject-publish`).
    #[error("RabbitMQ refused the message")]
    Nacked,
    /// The message came back: no queue was there to hold it.
    #[error("there is no queue to hold the message")]
    Returned,
    /// Something is declared differently, and not only in a number.
    #[error("{0}")]
    Mismatch(String),
    /// A declaration was refused because what exists differs (406), in RabbitMQ's words.
    #[error("RabbitMQ: {0}")]
    Precondition(String),
    /// The consumer's channel has ended; what it held comes back.
    #[error("RabbitMQ ended the consumer on {0}")]
    ConsumerEnded(String),
    /// Any other failure, in lapin's words.
    #[error("RabbitMQ: {0}")]
    Amqp(String),
}

impl Error {
    /// Whether the broker turned down this one message, rather than being away for all of them.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Nacked | Self::Returned)
    }
}

impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
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

/// Waits for lapin no longer than [`DEADLINE`].
async fn with_deadline<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Error> {
    Ok(tokio::time::timeout(DEADLINE, answer).await.map_err(|_| Error::TimedOut)??)
}
