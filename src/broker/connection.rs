//! A handle to a connection: whether it can be used now, and channels on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::connector::{Address, Purpose, connect};
use super::declare::{compare, declare, ensure};
use super::error::{Error, within};
use super::spans::Server;
use super::topology::Topology;

/// How often the status of a connection that is up is polled: lapin does not report every change as an event.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A connection to RabbitMQ, kept up by a [`Supervisor`](super::Supervisor). Clones share it.
#[derive(Clone)]
pub struct Connection {
    pub(super) state: watch::Receiver<State>,
    pub(super) topology: Arc<Topology>,
    pub(super) deadline: Duration,
    pub(super) server: Arc<Server>,
}

/// What the supervisor last reported.
#[derive(Clone)]
pub(super) enum State {
    Down(Error),
    Up(Arc<lapin::Connection>),
}

impl Connection {
    /// Connects once, without a supervisor: for commands that do one thing and exit.
    ///
    /// # Errors
    /// [`Error::TimedOut`], or [`Error::Amqp`] when RabbitMQ cannot be reached or rejects the credentials.
    pub async fn connect_once(address: &Address, topology: Arc<Topology>, purpose: Purpose) -> Result<Self, Error> {
        let (_, state) = watch::channel(State::Up(Arc::new(connect(address, purpose).await?)));
        Ok(Self { state, topology, deadline: address.deadline, server: Arc::new(address.server()) })
    }

    /// Declares the topology, even if it [is declared elsewhere](Topology::declared_elsewhere).
    ///
    /// # Errors
    /// Those of [opening a channel](Error).
    pub async fn declare(&self) -> Result<(), Error> {
        declare(&*self.current()?, &self.topology, self.deadline).await
    }

    /// Checks that each exchange and queue exists and differs in numeric arguments at most; restores missing bindings.
    ///
    /// # Errors
    /// Those of [opening a channel](Error). [`Error::Missing`] or [`Error::Mismatch`] names the first one.
    pub async fn compare(&self) -> Result<(), Error> {
        compare(&*self.current()?, &self.topology, self.deadline).await
    }

    /// The topology declared whenever a channel is opened.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Whether the connection is up and accepts messages.
    ///
    /// # Errors
    /// [`Error::Blocked`], [`Error::Disconnected`] when it was lost, else the error of the last attempt to connect.
    pub fn ready(&self) -> Result<(), Error> {
        self.current().map(drop)
    }

    /// Waits until [`Connection::ready`] succeeds.
    pub async fn until_ready(&self) {
        let mut state = self.state.clone();
        loop {
            state.mark_unchanged();
            if self.ready().is_ok() {
                return;
            }
            // Polled as well: a connection that is blocked, or is being lost, still counts as up.
            if let Ok(Err(_supervisor_gone)) = timeout(POLL_INTERVAL, state.changed()).await {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until RabbitMQ has blocked publishing on the connection.
    pub async fn until_blocked(&self) {
        // Polled: lapin reports it as an event to one listener only.
        while !matches!(self.ready(), Err(Error::Blocked)) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until connecting fails with [`Error::Mismatch`], which the supervisor cannot resolve, and returns that.
    pub async fn until_mismatch(&self) -> Error {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| matches!(state, State::Down(Error::Mismatch(_)))).await.map(|s| s.clone());
        if let Ok(State::Down(error)) = found { error } else { std::future::pending().await }
    }

    /// Declares the topology again (or checks it), in case a part of it was deleted, and opens a channel.
    pub(super) async fn channel(&self) -> Result<lapin::Channel, Error> {
        Ok(self.channel_and_loss().await?.0)
    }

    /// A channel, as [`Connection::channel`] opens it, and a future that completes when its connection is lost: an idle
    /// channel does not report that.
    pub(super) async fn channel_and_loss(&self) -> Result<(lapin::Channel, impl Future<Output = ()> + use<>), Error> {
        let (mut state, connection) = (self.state.clone(), self.current()?);
        ensure(&connection, &self.topology, self.deadline).await?;
        let channel = within(self.deadline, connection.create_channel()).await?;
        let lost = async move {
            let is_same = |state: &State| matches!(state, State::Up(current) if Arc::ptr_eq(current, &connection));
            if state.wait_for(|state| !is_same(state)).await.is_err() {
                // Without a supervisor a loss is not reported.
                std::future::pending::<()>().await;
            }
        };
        Ok((channel, lost))
    }

    pub(super) fn current(&self) -> Result<Arc<lapin::Connection>, Error> {
        match &*self.state.borrow() {
            State::Down(error) => Err(error.clone()),
            State::Up(connection) if connection.status().blocked() => Err(Error::Blocked),
            State::Up(connection) if !connection.status().connected() => Err(Error::Disconnected),
            State::Up(connection) => Ok(Arc::clone(connection)),
        }
    }
}
