//! Keeps one connection to RabbitMQ alive: connects, declares the topology, watches it, and begins anew when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Event;
use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::connector::connect;
use super::declare::declare;
use super::{Address, Error, Topology, with_deadline};
use crate::reconnect;

/// How often the connection's own state is looked at, beside its events.
const LOOK: Duration = Duration::from_millis(500);

/// What a connection is for: a broker that blocks publishers must not keep a worker from acknowledging.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// For publishing.
    Publish,
    /// For consuming.
    Consume,
    /// For consuming dead messages, which may hold what lapin cannot read: it drops the whole connection then.
    Record,
}

impl Purpose {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::Record => "record",
        }
    }
}

/// Starts connections and keeps them alive.
pub struct Supervisor {
    address: Address,
    topology: Arc<Topology>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// How many of this process's connections are down.
    down: Arc<AtomicUsize>,
}

impl Supervisor {
    /// A supervisor that works on `tasks` until `stop`, and then closes its connections.
    #[must_use]
    pub fn new(address: Address, topology: Arc<Topology>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        gauge!("banklink_broker_connected").set(0);
        counter!("banklink_broker_reconnects_total").absolute(0);
        Self { address, topology, tasks, stop, down: Arc::default() }
    }

    /// Keeps one more connection alive.
    #[must_use]
    pub fn spawn(&self, purpose: Purpose) -> Connection {
        let (state, watched) = watch::channel(State::Down(Error::Disconnected));
        let (address, topology) = (self.address.clone(), Arc::clone(&self.topology));
        let kept = Kept { address, topology, purpose, state, down: Arc::clone(&self.down) };
        self.tasks.spawn(kept.run(self.stop.clone()));
        Connection { state: watched, topology: Arc::clone(&self.topology) }
    }
}

/// A supervised connection. Clones share it.
#[derive(Clone)]
pub struct Connection {
    state: watch::Receiver<State>,
    topology: Arc<Topology>,
}

#[derive(Clone)]
enum State {
    Down(Error),
    Up(Arc<lapin::Connection>),
}

impl Connection {
    /// Connects once, without a supervisor: for commands that do one thing and end.
    ///
    /// # Errors
    /// When RabbitMQ cannot be reached, refuses us, or has something declared differently.
    pub async fn once(address: &Address, topology: Arc<Topology>, purpose: Purpose) -> Result<Self, Error> {
        let connection = connect(address, purpose).await?;
        declare(&connection, &topology).await?;
        Ok(Self { state: watch::channel(State::Up(Arc::new(connection))).1, topology })
    }

    /// The map that is declared on each connect.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Whether there is a connection that takes messages.
    ///
    /// # Errors
    /// [`Error::Blocked`], or why there is none.
    pub fn ready(&self) -> Result<(), Error> {
        self.current().map(|_| ())
    }

    /// Waits until [`Connection::ready`].
    pub async fn until_ready(&self) {
        let mut state = self.state.clone();
        loop {
            state.mark_unchanged();
            if self.ready().is_ok() {
                return;
            }
            // A connection that is blocked or dying is still up, so the state alone does not tell: look again in a moment.
            if let Ok(Err(_supervisor_gone)) = tokio::time::timeout(LOOK, state.changed()).await {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What the supervisor cannot mend: something is declared differently. For ever pending if that never happens.
    pub async fn mismatch(&self) -> Error {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| matches!(state, State::Down(Error::Mismatch(_)))).await.map(|s| s.clone());
        match found {
            Ok(State::Down(error)) => error,
            Ok(State::Up(_)) | Err(_) => std::future::pending().await,
        }
    }

    /// Declares everything again, for what somebody deleted meanwhile, and opens a channel.
    pub(super) async fn channel(&self) -> Result<lapin::Channel, Error> {
        Ok(self.channel_and_loss().await?.0)
    }

    /// A channel as [`Connection::channel`] opens it, and a future that waits until its connection is lost: whoever is idle on a
    /// channel is told of its end by nothing else.
    pub(super) async fn channel_and_loss(&self) -> Result<(lapin::Channel, impl Future<Output = ()> + use<>), Error> {
        let mut state = self.state.clone();
        let connection = self.current()?;
        declare(&connection, &self.topology).await?;
        let channel = with_deadline(connection.create_channel()).await?;
        let lost = async move {
            let is_ours = |state: &State| matches!(state, State::Up(up) if Arc::ptr_eq(up, &connection));
            if state.wait_for(|state| !is_ours(state)).await.is_err() {
                // Nobody supervises it, so nobody tells.
                std::future::pending::<()>().await;
            }
        };
        Ok((channel, lost))
    }

    fn current(&self) -> Result<Arc<lapin::Connection>, Error> {
        match &*self.state.borrow() {
            State::Down(error) => Err(error.clone()),
            State::Up(connection) if connection.status().blocked() => Err(Error::Blocked),
            State::Up(connection) if !connection.status().connected() => Err(Error::Disconnected),
            State::Up(connection) => Ok(Arc::clone(connection)),
        }
    }
}

/// What it takes to keep one connection.
struct Kept {
    address: Address,
    topology: Arc<Topology>,
    purpose: Purpose,
    state: watch::Sender<State>,
    down: Arc<AtomicUsize>,
}

impl Kept {
    async fn run(self, stop: CancellationToken) {
        let connection = self.purpose.as_str();
        self.down.fetch_add(1, Ordering::Relaxed);
        while let Some(up) = stop.run_until_cancelled(self.until_connected()).await {
            info!(connection, "connected to RabbitMQ");
            let others_down = self.down.fetch_sub(1, Ordering::Relaxed) - 1;
            gauge!("banklink_broker_connected").set(if others_down == 0 { 1 } else { 0 });
            self.state.send_replace(State::Up(Arc::clone(&up)));

            let lost = stop.run_until_cancelled(lost(&up)).await;
            self.down.fetch_add(1, Ordering::Relaxed);
            gauge!("banklink_broker_connected").set(0);
            self.state.send_replace(State::Down(Error::Disconnected));
            let Some(cause) = lost else {
                let _ = with_deadline(up.close(200, "stopping".into())).await;
                return;
            };
            warn!(connection, cause, "lost the connection to RabbitMQ");
            counter!("banklink_broker_reconnects_total").increment(1);
        }
    }

    async fn until_connected(&self) -> Arc<lapin::Connection> {
        let connection = self.purpose.as_str();
        let mut told = String::new();
        let attempt = async || {
            let connection = connect(&self.address, self.purpose).await?;
            declare(&connection, &self.topology).await?;
            Ok(Arc::new(connection))
        };
        let failed = |cause: &Error, pause: Duration| {
            match cause {
                Error::Mismatch(cause) => error!(connection, cause, "the broker holds something else"),
                cause if told == cause.to_string() => {
                    debug!(connection, %cause, retry_in = ?pause, "still no connection to RabbitMQ");
                }
                // Also when the cause is another one now: an operator who mends one thing is told of the next.
                cause => warn!(connection, %cause, "no connection to RabbitMQ; trying again until there is one"),
            }
            told = cause.to_string();
            self.state.send_replace(State::Down(cause.clone()));
        };
        reconnect::retry_until_ok(attempt, failed).await
    }
}

/// Waits until the connection is lost, and says why.
async fn lost(connection: &lapin::Connection) -> String {
    let mut events = std::pin::pin!(connection.events_listener());
    loop {
        match tokio::time::timeout(LOOK, events.next()).await {
            // A channel's error is told here too; it is no end of the connection.
            Ok(Some(Event::Error(error))) if !connection.status().connected() => return error.to_string(),
            Ok(Some(Event::ConnectionBlocked(reason))) => warn!(reason, "RabbitMQ has blocked publishing"),
            Ok(Some(Event::ConnectionUnblocked)) => info!("RabbitMQ takes messages again"),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) if connection.status().connected() => {}
            Ok(None) | Err(_) => return "closed".to_owned(),
        }
    }
}
