//! How long a batch is held during an outage: it is tried again with growing delays and released after five minutes, before
//! RabbitMQ's consumer timeout takes it back at the cost of a delivery count each time.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dependency_gate::{DependencyGate, Waiting};
use crate::broker::{self, ConsumerStatus};
use crate::reconnect::Backoff;

/// Maximum time a batch is held during an outage; below RabbitMQ's `consumer_timeout` (30 min by default).
pub(super) const MAX_HOLD: Duration = Duration::from_secs(5 * 60);

/// A batch was given up unfinished. Its unacknowledged deliveries return to the queue.
#[derive(Debug, thiserror::Error)]
pub enum BatchReleased {
    /// The consumer or its connection was lost.
    #[error(transparent)]
    ConsumerLost(#[from] broker::Error),
    /// A dependency was unavailable for more than five minutes, or while the process was stopping or the consumer was lost;
    /// the last error.
    #[error("{0}")]
    Outage(String),
}

/// The delays between the attempts at one batch.
pub(super) struct OutageBackoff<'a> {
    gate: &'a DependencyGate,
    stop: &'a CancellationToken,
    backoff: Backoff,
    outage: Option<Outage<'a>>,
}

struct Outage<'a> {
    since: Instant,
    _waiting: Waiting<'a>,
}

impl<'a> OutageBackoff<'a> {
    pub(super) fn new(gate: &'a DependencyGate, stop: &'a CancellationToken) -> Self {
        Self { gate, stop, backoff: Backoff::default(), outage: None }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// [`BatchReleased::Outage`] if another attempt makes no sense: the consumer is lost, the process is stopping, or the
    /// outage has lasted longer than [`MAX_HOLD`].
    pub(super) async fn wait(
        &mut self,
        cause: &impl fmt::Display,
        consumer: &ConsumerStatus,
    ) -> Result<(), BatchReleased> {
        let outage = self.outage.get_or_insert_with(|| {
            warn!(%cause, "paused: the batch cannot be processed now; no attempt is consumed");
            Outage { since: Instant::now(), _waiting: self.gate.count_as_waiting() }
        });
        if !consumer.is_alive() || self.stop.is_cancelled() || outage.since.elapsed() > MAX_HOLD {
            return Err(BatchReleased::Outage(cause.to_string()));
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
        self.gate.close_idle_connections().await;
        Ok(())
    }

    /// Ends the outage, if there was one: the batch is settled.
    pub(super) fn finish(self) {
        if let Some(outage) = self.outage {
            info!(after = ?outage.since.elapsed(), "resumed");
        }
    }
}
