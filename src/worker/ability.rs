//! Whether work can be done at all, and what it means to give up on a batch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tracing::warn;

use super::consume::Duty;
use crate::broker::{self, Connection, Publisher};
use crate::reconnect;
use crate::store::{self, Store};

/// The batch could not be finished; what is unsettled goes back to the broker.
pub(super) struct GaveUp;

impl From<broker::Error> for GaveUp {
    fn from(cause: broker::Error) -> Self {
        warn!(%cause, "the consumer is lost; what is in hand comes back");
        Self
    }
}

/// Whether work can be done at all: the connections and the database. Only then is anything consumed, so that an outage,
/// however long, costs a delivery one count at most.
pub(super) struct Ability {
    store: Store,
    publisher: Publisher,
    /// How many loops wait for a dependency.
    paused: Mutex<usize>,
    /// Whether a batch was given back because RabbitMQ did not take its copies.
    owes_copies: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
enum Unable {
    #[error(transparent)]
    Broker(#[from] broker::Error),
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl Ability {
    pub(super) fn new(store: Store, publisher: Publisher) -> Self {
        Self { store, publisher, paused: Mutex::new(0), owes_copies: AtomicBool::new(false) }
    }

    /// Counts a loop that waits.
    pub(super) fn pause(&self) {
        self.count(|paused| paused + 1);
    }

    /// Counts a loop that goes on.
    pub(super) fn resume(&self) {
        self.count(|paused| paused - 1);
    }

    /// The gauge is set under the lock, so that the last word about it is the true one.
    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = change(*paused);
        gauge!("banklink_worker_paused").set(if *paused > 0 { 1 } else { 0 });
    }

    /// A batch is given back because RabbitMQ does not take its copies: it would be the same with the next.
    pub(super) fn owe_copies(&self) {
        self.owes_copies.store(true, Ordering::Relaxed);
    }

    async fn check(&self, consume: &Connection, duty: Duty) -> Result<(), Unable> {
        match self.publisher.ready() {
            // Recording publishes nothing.
            _ if duty == Duty::Record => {}
            // Most webhooks need no copy, and an alarm may last for as long as nobody empties the queue.
            Err(broker::Error::Blocked) if !self.owes_copies.load(Ordering::Relaxed) => {}
            ready => {
                ready?;
                self.owes_copies.store(false, Ordering::Relaxed);
            }
        }
        consume.ready()?;
        Ok(self.store.probe().await?)
    }

    /// Lets the next try meet the database that is there now.
    pub(super) async fn renew(&self) {
        self.store.renew().await;
    }

    /// Waits until that can be done with messages that come over `consume`.
    pub(super) async fn wait(&self, consume: &Connection, duty: Duty) {
        if self.check(consume, duty).await.is_ok() {
            return;
        }
        self.pause();
        let mut told = String::new();
        let tell = |cause: &Unable, _pause: Duration| {
            let cause = cause.to_string();
            if told != cause {
                warn!(cause, "nothing is consumed until every dependency is back");
                told = cause;
            }
        };
        let again = async || {
            self.renew().await;
            self.check(consume, duty).await
        };
        reconnect::retry_until_ok(again, tell).await;
        self.resume();
    }
}
