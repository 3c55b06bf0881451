//! A connection and a publisher for the duration of one command.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Address, Publisher, Purpose, Supervisor, Topology};
use crate::failpoints;

/// Maximum time to connect, and to close the connection.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the connection is polled until it is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// An open publisher, to be closed with [`PublisherSession::close`].
pub(super) struct PublisherSession {
    publisher: Publisher,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl PublisherSession {
    /// Connects and opens a publisher. Fails if it is not ready within 10 s.
    pub(super) async fn open(address: Address, topology: Arc<Topology>) -> anyhow::Result<Self> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let supervisor = Supervisor::new(address, topology, tasks.clone(), stop.clone());
        let publisher = Publisher::start(supervisor.spawn(Purpose::Publish), &tasks);
        let ready = async {
            while publisher.ready().is_err() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        if tokio::time::timeout(failpoints::deadline(DEADLINE), ready).await.is_err() {
            publisher.ready().context("cannot publish")?;
        }
        Ok(Self { publisher, tasks, stop })
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Closes the connection. A connection that does not close within 10 s is abandoned.
    pub(super) async fn close(self) {
        drop(self.publisher);
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(DEADLINE, self.tasks.wait()).await;
    }
}
