//! The composition root: builds the roles over the connections that they share.
//!
//! `banklink run` and the tests build every role here.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, Api};
use crate::broker::{self, Address, Connection, Publisher, Purpose, Supervisor, Topology};
use crate::console::{self, Console};
use crate::ingress::{self, Ingress};
use crate::lean;
use crate::reconcile::{self, Reconciler};
use crate::relay::Relay;
use crate::store::Store;
use crate::store::handover::Handover;
use crate::worker::{self, Worker};

/// What the roles of one process share.
pub struct App {
    supervisor: Supervisor,
    /// Every role publishes on this connection, over a channel of its own.
    publishing: Connection,
    /// Hands the events that the workers write to the relay.
    handover: Arc<Handover>,
    /// Tasks that the roles depend on and that end after them: connections and publishers.
    tasks: TaskTracker,
    close: CancellationToken,
}

impl App {
    /// Starts to connect to RabbitMQ, which declares `topology` on each connect.
    #[must_use]
    pub fn new(address: Address, topology: Arc<Topology>) -> Self {
        let (tasks, close) = (TaskTracker::new(), CancellationToken::new());
        let supervisor = Supervisor::new(address, topology, tasks.clone(), close.clone());
        let publishing = supervisor.spawn(Purpose::Publish);
        Self { supervisor, publishing, handover: Arc::default(), tasks, close }
    }

    /// The ingress, which takes webhooks until `stop`.
    #[must_use]
    pub fn ingress(&self, settings: ingress::Settings, stop: CancellationToken) -> Arc<Ingress> {
        Arc::new(Ingress::new(settings, self.publisher(), stop))
    }

    /// A worker on `store`, which runs until `stop`.
    #[must_use]
    pub fn worker(&self, settings: worker::Settings, store: &Store, stop: CancellationToken) -> Arc<Worker> {
        let connections = worker::Connections {
            work: self.supervisor.spawn(Purpose::Consume),
            dead: self.supervisor.spawn(Purpose::Record),
        };
        let (store, handover) = (store.clone(), Arc::clone(&self.handover));
        Arc::new(Worker::new(settings, store, self.publisher(), connections, handover, stop))
    }

    /// A relay on `store`, which runs until `stop`.
    #[must_use]
    pub fn relay(&self, store: &Store, stop: CancellationToken) -> Arc<Relay> {
        let (store, handover) = (store.clone(), Arc::clone(&self.handover));
        Arc::new(Relay::new(store, || self.publisher(), handover, stop))
    }

    /// The read API on `store`, which answers until `stop`.
    #[must_use]
    pub fn api(&self, settings: api::Settings, store: &Store, stop: CancellationToken) -> Arc<Api> {
        Arc::new(Api::new(settings, store.clone(), self.supervisor.spawn(Purpose::Subscribe), stop))
    }

    /// A reconciler on `store`, which runs until `stop`.
    #[must_use]
    pub fn reconciler(
        &self,
        settings: reconcile::Settings,
        client: lean::Client,
        store: &Store,
        stop: CancellationToken,
    ) -> Arc<Reconciler> {
        Arc::new(Reconciler::new(settings, store.clone(), client, self.publisher(), stop))
    }

    /// The console on `store`, which answers until `stop`. A store of its own keeps what people look at from taking connections that
    /// webhooks need.
    ///
    /// # Errors
    /// When no HTTP client can be created.
    pub fn console(
        &self,
        settings: console::Settings,
        store: &Store,
        stop: CancellationToken,
    ) -> Result<Arc<Console>, console::Unavailable> {
        let events = self.supervisor.spawn(Purpose::Subscribe);
        Ok(Arc::new(Console::new(settings, store.clone(), self.publisher(), events, stop)?))
    }

    /// Waits until RabbitMQ holds something that differs from the topology, which no retry can solve.
    pub async fn until_mismatch(&self) -> broker::Error {
        self.publishing.until_mismatch().await
    }

    /// Closes the connections, and waits for the shared tasks. Every role must have ended and been dropped.
    pub async fn close(self) {
        self.close.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A publisher on the shared connection. [`App::close`] waits until it is dropped.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::start(self.publishing.clone(), &self.tasks)
    }
}
