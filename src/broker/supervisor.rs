//! Keeps connections to RabbitMQ up: connects, declares the topology, watches the connection, and reconnects when it is
//! lost.

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

use super::address::Address;
use super::connection::{Connection, POLL_INTERVAL, State};
use super::connector::connect;
use super::deadline::within;
use super::declare::declare;
use super::error::Error;
use super::purpose::Purpose;
use super::topology::Topology;
use crate::reconnect::retry_until_ok;

const CONNECTED: &str = "banklink_broker_connected";
const RECONNECTS: &str = "banklink_broker_reconnects_total";

/// Starts connections and keeps them up.
pub struct Supervisor {
    address: Address,
    topology: Arc<Topology>,
    tasks: TaskTracker,
    stop: CancellationToken,
    down: Arc<DownConnections>,
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
        let (state, watched) = watch::channel(State::Down(Error::Disconnected));
        let (address, topology) = (self.address.clone(), Arc::clone(&self.topology));
        let task = ConnectionTask { address, topology, purpose, state, down: Arc::clone(&self.down) };
        self.tasks.spawn(task.run(self.stop.clone()));
        Connection::new(watched, Arc::clone(&self.topology), self.address.deadline())
    }
}

/// Describes this room's metrics and sets their first values: docs/CONTRACT.md#8-metrics.
fn register_metrics() {
    describe_gauge!(CONNECTED, Unit::Count, "1 while every RabbitMQ connection of this process is up, else 0.");
    gauge!(CONNECTED).set(0);
    describe_counter!(
        RECONNECTS,
        Unit::Count,
        "Lost RabbitMQ connections, each of which is retried until it is up again."
    );
    counter!(RECONNECTS).absolute(0);
}

/// How many of a supervisor's connections are down.
#[derive(Default)]
struct DownConnections(Mutex<usize>);

impl DownConnections {
    /// Changes the number, and sets the gauge. The gauge is set under the lock so that updates cannot reorder.
    fn update(&self, change: impl FnOnce(usize) -> usize) {
        let mut down = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *down = change(*down);
        gauge!(CONNECTED).set(if *down == 0 { 1 } else { 0 });
    }
}

/// The task that keeps one connection up.
struct ConnectionTask {
    address: Address,
    topology: Arc<Topology>,
    purpose: Purpose,
    state: watch::Sender<State>,
    down: Arc<DownConnections>,
}

impl ConnectionTask {
    async fn run(self, stop: CancellationToken) {
        let purpose = self.purpose.as_str();
        self.down.update(|down| down + 1);
        while let Some(connection) = stop.run_until_cancelled(self.connect()).await {
            info!(connection = purpose, "connected to RabbitMQ");
            self.down.update(|down| down - 1);
            self.state.send_replace(State::Up(Arc::clone(&connection)));

            let lost = stop.run_until_cancelled(until_lost(&connection)).await;
            self.down.update(|down| down + 1);
            self.state.send_replace(State::Down(Error::Disconnected));
            let Some(cause) = lost else {
                let _ = within(self.address.deadline(), connection.close(200, "stopping".into())).await;
                return;
            };
            warn!(connection = purpose, cause, "lost the connection to RabbitMQ");
            counter!(RECONNECTS).increment(1);
        }
    }

    /// Retries until the connection is up and the topology is declared.
    async fn connect(&self) -> Arc<lapin::Connection> {
        let connection = self.purpose.as_str();
        let mut last_cause = String::new();
        let attempt = async || {
            let connection = connect(&self.address, self.purpose).await?;
            declare(&connection, &self.topology, self.address.deadline()).await?;
            Ok(Arc::new(connection))
        };
        let on_failure = |error: &Error, delay: Duration| {
            let cause = error.to_string();
            match error {
                Error::Mismatch(_) => error!(connection, cause, "RabbitMQ's topology differs from the expected one"),
                _ if cause == last_cause => {
                    debug!(connection, cause, retry_in = ?delay, "still no connection to RabbitMQ");
                }
                // Another cause is a warning again: an operator who fixes one must learn of the next.
                _ => warn!(connection, cause, "no connection to RabbitMQ; trying again until there is one"),
            }
            last_cause = cause;
            self.state.send_replace(State::Down(error.clone()));
        };
        retry_until_ok(attempt, on_failure).await
    }
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
