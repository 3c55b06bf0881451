//! Opens only while work can be done: RabbitMQ connected, the database writable.
//!
//! Nothing is consumed before, so an outage of any length costs a delivery at most one delivery count.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tracing::warn;

use super::queue::{QueueConfig, QueueKind};
use crate::broker::{self, Publisher};
use crate::reconnect;
use crate::store::{self, Store};

/// Holds consumers back while a dependency is unavailable, and counts who waits.
pub(super) struct DependencyGate {
    store: Store,
    publisher: Publisher,
    /// How many tasks wait for a dependency.
    waiting: Mutex<usize>,
    /// Whether a batch was released because RabbitMQ took no copies: the next one would fail the same way.
    requires_publishing: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
enum Unavailable {
    #[error(transparent)]
    Broker(#[from] broker::Error),
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl DependencyGate {
    pub(super) fn new(store: Store, publisher: Publisher) -> Self {
        Self { store, publisher, waiting: Mutex::new(0), requires_publishing: AtomicBool::new(false) }
    }

    /// Waits until messages of `queue` can be processed.
    pub(super) async fn wait(&self, queue: &QueueConfig<'_>) {
        if self.check(queue).await.is_ok() {
            return;
        }
        let _waiting = self.count_as_waiting();
        let mut last_cause = String::new();
        let on_failure = |cause: &Unavailable, _delay: Duration| {
            let cause = cause.to_string();
            if last_cause != cause {
                warn!(cause, "not consuming until every dependency is available");
                last_cause = cause;
            }
        };
        let attempt = async || {
            self.close_idle_connections().await;
            self.check(queue).await
        };
        reconnect::retry_until_ok(attempt, on_failure).await;
    }

    async fn check(&self, queue: &QueueConfig<'_>) -> Result<(), Unavailable> {
        if queue.kind == QueueKind::Work {
            match self.publisher.ready() {
                // Most webhooks need no copy, and consuming them may be what ends the alarm.
                Err(broker::Error::Blocked) if !self.requires_publishing.load(Ordering::Relaxed) => {}
                ready => {
                    ready?;
                    self.requires_publishing.store(false, Ordering::Relaxed);
                }
            }
        }
        queue.connection.ready()?;
        Ok(self.store.probe().await?)
    }

    /// Makes the next statement use a new connection: after a failover, an old one may still lead to a read-only server.
    pub(super) async fn close_idle_connections(&self) {
        self.store.close_idle_connections().await;
    }

    /// Opens next only once messages can be published: a batch was released because its copies could not be.
    pub(super) fn require_publishing(&self) {
        self.requires_publishing.store(true, Ordering::Relaxed);
    }

    /// Counts a task as waiting until the guard is dropped.
    pub(super) fn count_as_waiting(&self) -> Waiting<'_> {
        self.count(|waiting| waiting + 1);
        Waiting(self)
    }

    /// The gauge is set under the lock so that updates cannot reorder.
    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = change(*waiting);
        gauge!("banklink_worker_paused").set(if *waiting > 0 { 1 } else { 0 });
    }
}

/// A task that waits for a dependency.
pub(super) struct Waiting<'a>(&'a DependencyGate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.count(|waiting| waiting - 1);
    }
}
