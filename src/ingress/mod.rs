//! The ingress: takes webhooks in, and answers 200 only once RabbitMQ has them.
//!
//! It never reads what a body means, and needs no database.

mod problem;
mod senders;
mod signature;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub use senders::{Network, Senders, parse_networks};
pub use signature::{HEADER as SIGNATURE_HEADER, Keys};

use crate::broker::Publisher;
use crate::readiness::{Readiness, running};
use crate::server;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 16_384;

/// What the ingress has to know.
pub struct Settings {
    /// The application's webhook secrets.
    pub keys: Keys,
    /// Who may post.
    pub senders: Senders,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// The longest wait for a confirm.
    pub deadline: Duration,
    /// Unconfirmed publishes, at most.
    pub max_in_flight: usize,
}

/// The other end of the connection that a request came over.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

/// The ingress role.
pub struct Ingress {
    settings: Settings,
    publisher: Publisher,
    /// One permit for each publish that may be unconfirmed at a time.
    publish_permits: Semaphore,
    /// The memory that large bodies may occupy together, in KiB.
    body_budget: Semaphore,
    stop: CancellationToken,
}

impl Ingress {
    /// An ingress that accepts webhooks until `stop` is cancelled.
    #[must_use]
    pub fn new(settings: Settings, publisher: Publisher, stop: CancellationToken) -> Self {
        let publish_permits = Semaphore::new(settings.max_in_flight);
        let body_budget = Semaphore::new(webhooks::BODY_BUDGET_KIB);
        Self { settings, publisher, publish_permits, body_budget, stop }
    }

    /// Serves webhooks on `listener` until told to stop, then answers the requests in flight.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        webhooks::register_metrics(self.settings.keys.count());
        let stop = self.stop.clone();
        let router = webhooks::router(self);
        let answer = move |peer, mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.clone().call(request)
        };
        server::serve(listener, MAX_CONNECTIONS, answer, stop).await;
    }

    /// Whether the ingress can do its job: not stopping, and able to publish.
    #[expect(clippy::unused_async, reason = "as the readiness of every role")]
    pub async fn readiness(&self) -> Readiness {
        Readiness::new("ingress").check("process", running(&self.stop)).check("broker", self.publisher.ready())
    }
}
