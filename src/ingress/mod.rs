//! The ingress role: receives webhooks over HTTP and answers 200 once RabbitMQ has confirmed them.
//!
//! It neither parses bodies nor uses the database.

mod answer;
mod report;
mod senders;
mod signature;
mod spans;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use crate::server::forwarded::{Network, parse_networks};
pub use senders::Senders;
pub use signature::verify;

use crate::broker::Publisher;
use crate::domain::signature::Keys;
use crate::readiness::{Readiness, running};
use crate::server;
use report::Metrics;

/// The OpenAPI 3.1 document of the ingress.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// The only route, which is also the whole path.
const ROUTE: &str = "/webhooks/lean";

/// The settings of the ingress.
pub struct Settings {
    /// The secrets that webhooks may be signed with.
    pub keys: Keys,
    /// The addresses that may post.
    pub senders: Senders,
    /// Maximum size of a body, in bytes.
    pub max_body_bytes: usize,
    /// How long to wait for RabbitMQ's confirm before answering 503.
    pub confirm_deadline: Duration,
    /// Maximum number of unconfirmed publishes.
    pub max_in_flight: usize,
    /// Limits on slow clients.
    pub limits: Limits,
}

/// What a slow or stalled client may use of the ingress.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
    /// How long to read on in a body that is too large, so that its sender reads the answer, as nginx does.
    pub lingering_timeout: Duration,
    /// Limits on connections.
    pub server: server::Limits,
}

impl Limits {
    /// The limits of the program, with this maximum number of connections.
    #[must_use]
    pub fn with_max_connections(max_connections: usize) -> Self {
        Self {
            body_deadline: Duration::from_secs(10),
            lingering_timeout: Duration::from_secs(1),
            server: server::Limits::with_max_connections(max_connections),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::with_max_connections(16_384)
    }
}

/// The ingress role.
pub struct Ingress {
    settings: Settings,
    publisher: Publisher,
    metrics: Metrics,
    /// One permit for each publish that may be unconfirmed at the same time.
    publish_permits: Semaphore,
    /// Memory for large bodies, in KiB.
    body_budget: Semaphore,
    stop: CancellationToken,
}

impl Ingress {
    /// An ingress that accepts webhooks until `stop` is cancelled.
    #[must_use]
    pub fn new(settings: Settings, publisher: Publisher, stop: CancellationToken) -> Self {
        let publish_permits = Semaphore::new(settings.max_in_flight);
        let body_budget = Semaphore::new(webhooks::body_budget_kib(settings.max_body_bytes));
        let metrics = Metrics::register(settings.keys.count());
        Self { settings, publisher, metrics, publish_permits, body_budget, stop }
    }

    /// Serves webhooks on `listener` until `stop`, then returns once the requests in progress are answered.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let (limits, stop) = (self.settings.limits.server, self.stop.clone());
        let handler = move |client, request| Arc::clone(&self).answer(client, request);
        server::serve(listener, limits, handler, stop).await;
    }

    /// Whether the ingress can accept webhooks: it is not stopping, and can publish.
    #[expect(clippy::unused_async, reason = "as the readiness of every role")]
    pub async fn readiness(&self) -> Readiness {
        Readiness::new("ingress")
            .check("process", running(&self.stop))
            .check("broker", self.publisher.ready().map_err(|error| error.class()))
    }
}
