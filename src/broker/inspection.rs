//! Compares RabbitMQ with the topology without declaring an exchange or queue that is missing: for `banklink check`.

use std::time::Duration;

use lapin::Connection;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::address::Address;
use super::connector::connect;
use super::deadline::within;
use super::declare::declare;
use super::error::Error;
use super::purpose::Purpose;
use super::topology::{Declaration, Topology};

/// A connection to inspect RabbitMQ with.
pub struct Inspection {
    connection: Connection,
    deadline: Duration,
}

impl Inspection {
    /// Connects.
    ///
    /// # Errors
    /// - [`Error::Amqp`] when RabbitMQ cannot be reached or rejects the credentials or the virtual host.
    /// - [`Error::TimedOut`] when it does not answer within the address's deadline.
    pub async fn begin(address: &Address) -> Result<Self, Error> {
        Ok(Self { connection: connect(address, Purpose::Publish).await?, deadline: address.deadline() })
    }

    /// Checks that every exchange and queue of `topology` exists and differs in numeric arguments at most. A missing
    /// binding is restored.
    ///
    /// # Errors
    /// - [`Error::Mismatch`] names the first exchange or queue that is missing or differs.
    /// - [`Error::TimedOut`] or [`Error::Amqp`] when the connection fails.
    pub async fn compare(&self, topology: &Topology) -> Result<(), Error> {
        for declaration in topology.declarations() {
            // One for each, because RabbitMQ closes the channel when something is missing.
            let channel = within(self.deadline, self.connection.create_channel()).await?;
            let (kind, name, found) = match declaration {
                Declaration::Exchange { name, kind, .. } => {
                    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
                    let found = channel.exchange_declare(name.as_str().into(), kind, options, FieldTable::default());
                    ("exchange", name, within(self.deadline, found).await)
                }
                Declaration::Queue { name, .. } => {
                    let options = QueueDeclareOptions { passive: true, ..Default::default() };
                    let found = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
                    ("queue", name, within(self.deadline, found).await.map(|_| ()))
                }
                Declaration::Binding { .. } => continue,
            };
            found.map_err(|error| match error {
                Error::Amqp(cause) => Error::Mismatch(format!(
                    "{kind} {name} is missing or differs ({cause}): run `banklink topology apply`, or any role"
                )),
                other => other,
            })?;
        }
        // Every exchange and queue exists, so declaring them compares their arguments and creates none.
        declare(&self.connection, topology, self.deadline).await
    }
}
