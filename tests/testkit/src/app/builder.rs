//! Builds a [`TestApp`]. Tests change only the settings that they are about.

use std::time::Duration;

use banklink::ingress::{Limits, Senders};
use banklink::store::Deadlines;
use uuid::Uuid;

use super::{On, TestApp};
use crate::SECRET;

/// The settings of an app.
#[must_use]
pub struct TestAppBuilder {
    pub(super) on: On,
    pub(super) postgres: Option<String>,
    pub(super) namespace: String,
    pub(super) schedule: &'static str,
    pub(super) delivery_limit: u32,
    pub(super) batch_size: usize,
    pub(super) workers: usize,
    pub(super) relays: usize,
    pub(super) subscribed: bool,
    pub(super) keys: &'static str,
    pub(super) senders: Senders,
    pub(super) max_body_bytes: usize,
    pub(super) max_in_flight: usize,
    pub(super) confirm_deadline: Duration,
    pub(super) ingress_limits: Limits,
    pub(super) store_deadlines: Deadlines,
}

impl TestAppBuilder {
    /// One role of each kind, two short retry tiers, and a subscriber of all events.
    pub fn new(on: On) -> Self {
        Self {
            on,
            postgres: None,
            namespace: format!("it-{}", Uuid::new_v4().simple()),
            schedule: "100ms,200ms",
            delivery_limit: 20,
            batch_size: 256,
            workers: 1,
            relays: 1,
            subscribed: true,
            keys: SECRET,
            senders: Senders::default(),
            max_body_bytes: 262_144,
            max_in_flight: 4096,
            confirm_deadline: Duration::from_secs(4),
            ingress_limits: Limits::default(),
            // Tests query through this pool, too, on a machine that may be busy.
            store_deadlines: Deadlines { connect: Duration::from_secs(30), ..Deadlines::default() },
        }
    }

    /// No worker, no relay and no subscriber: the test starts the roles that it needs, or reads the queues itself.
    pub fn ingress_only(self) -> Self {
        self.workers(0).relays(0).unsubscribed()
    }

    /// Uses the PostgreSQL server at `url`, which outlives the app, instead of the shared one.
    pub fn postgres(self, url: impl Into<String>) -> Self {
        Self { postgres: Some(url.into()), ..self }
    }

    /// Sets the number of workers.
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Sets the number of relays.
    pub fn relays(self, relays: usize) -> Self {
        Self { relays, ..self }
    }

    /// Does not subscribe to the events, for tests that do not read them.
    pub fn unsubscribed(self) -> Self {
        Self { subscribed: false, ..self }
    }

    /// Sets the retry schedule.
    pub fn schedule(self, schedule: &'static str) -> Self {
        Self { schedule, ..self }
    }

    /// Sets the delivery limit of the work queue.
    pub fn delivery_limit(self, delivery_limit: u32) -> Self {
        Self { delivery_limit, ..self }
    }

    /// Sets the maximum number of deliveries in a batch.
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets the webhook secrets, comma separated.
    pub fn keys(self, keys: &'static str) -> Self {
        Self { keys, ..self }
    }

    /// Sets the senders that the ingress admits.
    pub fn senders(self, senders: Senders) -> Self {
        Self { senders, ..self }
    }

    /// Sets the maximum size of a body.
    pub fn max_body_bytes(self, max_body_bytes: usize) -> Self {
        Self { max_body_bytes, ..self }
    }

    /// Sets the maximum number of unconfirmed publishes.
    pub fn max_in_flight(self, max_in_flight: usize) -> Self {
        Self { max_in_flight, ..self }
    }

    /// Sets what a slow client may use of the ingress.
    pub fn ingress_limits(self, ingress_limits: Limits) -> Self {
        Self { ingress_limits, ..self }
    }

    /// Sets how long a statement waits for a lock.
    pub fn lock_deadline(self, lock: Duration) -> Self {
        Self { store_deadlines: Deadlines { lock, ..self.store_deadlines }, ..self }
    }

    /// Sets after how long without a result a transaction is given up.
    pub fn silence_deadline(self, silence: Duration) -> Self {
        Self { store_deadlines: Deadlines { silence, ..self.store_deadlines }, ..self }
    }

    /// The namespace that the app will use, for queues that must exist before it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Creates the database, declares the topology and starts the roles.
    pub async fn build(self) -> TestApp {
        TestApp::build(self).await
    }
}
