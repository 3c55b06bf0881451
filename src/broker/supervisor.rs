//! Keeps connections to RabbitMQ up: connects, declares the topology, and reconnects when a connection is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Event;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::connection::{Connection, POLL_INTERVAL, State};
use super::connector::{Address, Purpose, connect};
use super::declare::ensure;
use super::error::{Error, within};
use super::topology::Topology;
use crate::reconnect::retry_until_ok;

const CONNECTED: &str = "banklink_broker_connected";
const RECONNECTS: &str = "banklink_broker_reconnects_total";

/// Starts connections and keeps them up.
#[derive(Clone)]
pub struct Supervisor {
    address: Address,
    topology: Arc<Topology>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// How many connections are down.
    down: Arc<Mutex<usize>>,
}

impl Supervisor {
    /// A supervisor whose tasks run on `tasks` until `stop` is cancelled, and then close their connections.
    #[must_use]
    pub fn new(address: Address, topology: Arc<Topology>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        register_metrics();
        Self { address, topology, tasks, stop, down: Arc::default() }
    }

    /// Starts a connection and keeps it up.
    #[must_use]
    pub fn spawn(&self, purpose: Purpose) -> Connection {
        let (sender, state) = watch::channel(State::Down(Error::Disconnected));
        self.tasks.spawn(self.clone().run(purpose, sender));
        let (topology, server) = (Arc::clone(&self.topology), Arc::new(self.address.server()));
        Connection { state, topology, deadline: self.address.deadline, server }
    }

    /// Keeps one connection up.
    async fn run(self, purpose: Purpose, state: watch::Sender<State>) {
        self.update_down(|down| down + 1);
        while let Some(connection) = self.stop.run_until_cancelled(self.connect(purpose, &state)).await {
            info!(connection = purpose.as_str(), "connected to RabbitMQ");
            self.update_down(|down| down - 1);
            state.send_replace(State::Up(Arc::clone(&connection)));

            let lost = self.stop.run_until_cancelled(until_lost(&connection)).await;
            self.update_down(|down| down + 1);
            state.send_replace(State::Down(Error::Disconnected));
            let Some(cause) = lost else {
                let _ = within(self.address.deadline, connection.close(200, "stopping".into())).await;
                return;
            };
            warn!(connection = purpose.as_str(), cause, "lost the connection to RabbitMQ");
            counter!(RECONNECTS).increment(1);
        }
    }

    /// Changes the number of connections that are down. The gauge is set under the lock so that updates cannot reorder.
    fn update_down(&self, change: impl FnOnce(usize) -> usize) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        *down = change(*down);
        gauge!(CONNECTED).set(if *down == 0 { 1 } else { 0 });
    }

    /// Retries until the connection is up and the topology is declared.
    async fn connect(&self, purpose: Purpose, state: &watch::Sender<State>) -> Arc<lapin::Connection> {
        let mut last_cause = String::new();
        let attempt = async || {
            let connection = connect(&self.address, purpose).await?;
            ensure(&connection, &self.topology, self.address.deadline).await?;
            Ok(Arc::new(connection))
        };
        let on_failure = |error: &Error, delay: Duration| {
            let (connection, cause) = (purpose.as_str(), error.to_string());
            match error {
                Error::Mismatch(_) => error!(connection, cause, "RabbitMQ's topology differs from the expected one"),
                _ if cause == last_cause => {
                    debug!(connection, cause, retry_in = ?delay, "still no connection to RabbitMQ");
                }
                // Another cause is a warning again: an operator who fixes one must learn of the next.
                _ => warn!(connection, cause, "no connection to RabbitMQ; trying again until there is one"),
            }
            last_cause = cause;
            state.send_replace(State::Down(error.clone()));
        };
        retry_until_ok(attempt, on_failure).await
    }
}

/// Describes the metrics of connections and sets their first values: docs/CONTRACT.md#8-metrics.
fn register_metrics() {
    describe_gauge!(CONNECTED, Unit::Count, "1 while every RabbitMQ connection of this process is up, else 0.");
    gauge!(CONNECTED).set(0);
    describe_counter!(RECONNECTS, Unit::Count, "Lost RabbitMQ connections, each retried until it is up again.");
    counter!(RECONNECTS).absolute(0);
}

/// Waits until the connection is lost, and returns why.
async fn until_lost(connection: &lapin::Connection) -> String {
    let mut events = std::pin::pin!(connection.events_listener());
    loop {
        match timeout(POLL_INTERVAL, events.next()).await {
            // The error of a channel arrives here as well, and leaves the connection up.
            Ok(Some(Event::Error(error))) if !connection.status().connected() => return error.to_string(),
            Ok(Some(Event::ConnectionBlocked(reason))) => warn!(reason, "RabbitMQ has blocked publishing"),
            Ok(Some(Event::ConnectionUnblocked)) => info!("RabbitMQ has unblocked publishing"),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) if connection.status().connected() => {}
            Ok(None) | Err(_) => return "closed".to_owned(),
        }
    }
}
