//! A publisher for a command that publishes and ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Address, Publisher, Purpose, Supervisor, Topology};

/// How long a command waits for the broker before it says that there is none.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// A connection and a publisher on it.
pub(super) struct PublisherSession {
    publisher: Publisher,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl PublisherSession {
    /// Connects.
    pub(super) async fn open(address: Address, topology: Arc<Topology>) -> anyhow::Result<Self> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let supervisor = Supervisor::new(address, topology, tasks.clone(), stop.clone());
        let publisher = Publisher::start(supervisor.spawn(Purpose::Publish), &tasks);
        let ready = async {
            while publisher.ready().is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            publisher.ready().context("cannot publish")?;
        }
        Ok(Self { publisher, tasks, stop })
    }

    /// The publisher.
    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        drop(self.publisher);
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(PATIENCE, self.tasks.wait()).await;
    }
}
