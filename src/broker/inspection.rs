//! Compares what is declared with the map, and declares nothing that is not there.

use lapin::Connection;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::connector::connect;
use super::declare::declare;
use super::topology::Step;
use super::{Address, Error, Purpose, Topology, with_deadline};

/// A connection to look around with.
pub struct Inspection(Connection);

impl Inspection {
    /// Connects.
    ///
    /// # Errors
    /// When RabbitMQ cannot be reached or refuses us.
    pub async fn begin(address: &Address) -> Result<Self, Error> {
        Ok(Self(connect(address, Purpose::Publish).await?))
    }

    /// Whether everything on the map is there, as it should be but for numbers.
    ///
    /// # Errors
    /// What is missing, or differs.
    pub async fn compare(&self, topology: &Topology) -> Result<(), Error> {
        for step in topology.steps() {
            let channel = with_deadline(self.0.create_channel()).await?;
            let (kind, name, found) = match step {
                Step::Exchange { name, kind, .. } => {
                    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
                    let found = channel.exchange_declare(name.as_str().into(), kind, options, FieldTable::default());
                    ("exchange", name, with_deadline(found).await)
                }
                Step::Queue { name, .. } => {
                    let options = QueueDeclareOptions { passive: true, ..Default::default() };
                    let found = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
                    ("queue", name, with_deadline(found).await.map(|_| ()))
                }
                Step::Binding { .. } => continue,
            };
            found.map_err(|error| match error {
                Error::Amqp(cause) => Error::Mismatch(format!(
                    "{kind} {name} is not as it should be ({cause}): run `banklink topology apply`, or any role"
                )),
                other => other,
            })?;
        }
        // All of it is there, so declaring it only compares, and restores a binding at most.
        declare(&self.0, topology).await
    }
}
