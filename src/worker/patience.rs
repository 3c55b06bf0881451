//! How long a batch is kept when a dependency is away: it is tried again with growing pauses, and given back after five
//! minutes, so that RabbitMQ's consumer timeout does not take it back by force, one delivery count at a time.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ability::{Ability, GaveUp};
use crate::broker::Consumer;
use crate::reconnect::Backoff;

/// The longest a batch is kept while something else than its content is in the way.
pub(super) const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Patience for one batch.
pub(super) struct Patience<'a> {
    ability: &'a Ability,
    stop: &'a CancellationToken,
    pauses: Backoff,
    since: Option<Instant>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(ability: &'a Ability, stop: &'a CancellationToken) -> Self {
        Self { ability, stop, pauses: Backoff::default(), since: None }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// [`GaveUp`] when there is no sense in another: the batch is lost to us, the process is to stop, or it has been too long.
    pub(super) async fn wait(&mut self, cause: &impl fmt::Display, consumer: &Consumer) -> Result<(), GaveUp> {
        let since = *self.since.get_or_insert_with(|| {
            self.ability.pause();
            warn!(%cause, "paused: a dependency is away, no attempt is spent");
            Instant::now()
        });
        if !consumer.is_alive() || self.stop.is_cancelled() || since.elapsed() > LONGEST {
            warn!(%cause, "what is in hand goes back to the broker");
            return Err(GaveUp);
        }
        tokio::time::sleep(self.pauses.next_delay()).await;
        self.ability.renew().await;
        Ok(())
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        if let Some(since) = self.since {
            self.ability.resume();
            info!(after = ?since.elapsed(), "going on");
        }
    }
}
