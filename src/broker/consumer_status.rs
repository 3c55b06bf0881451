//! Whether a consumer is still there, for a task that holds its deliveries.

use lapin::ChannelStatus;

/// Tells whether the channel that a [`Consumer`](super::Consumer) had is still open.
pub struct ConsumerStatus(pub(super) ChannelStatus);

impl ConsumerStatus {
    /// Whether the channel is open. Without it no ack can reach RabbitMQ.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.connected()
    }
}
