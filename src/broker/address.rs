//! The broker's address, with the heartbeat that a half-open connection is noticed by.

use std::str::FromStr;

use lapin::uri::AMQPUri;

/// Seconds between two heartbeats unless the URL says otherwise: a half-open connection is noticed within two of them.
const HEARTBEAT: u16 = 10;

/// Where RabbitMQ is, and who to be there. Never shown: it holds a password.
#[derive(Clone)]
pub struct Address(AMQPUri);

impl Address {
    /// Reads an `amqp://` or `amqps://` URL; `None` if it is none.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let mut uri = AMQPUri::from_str(url).ok()?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Some(Self(uri))
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.0.vhost
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }
}
