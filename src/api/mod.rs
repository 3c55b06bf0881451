//! The read API role: tells the backend of the company's app which banks a customer has linked, and when that changes
//! (docs/CONTRACT.md#9-the-read-api).
//!
//! It reads the database. Of changes it hears by the events that the relay publishes (`feed.rs`); a request that waits is woken by
//! them (`watchers.rs`) and costs no query until then.

mod feed;
mod links;
mod parameters;
mod paths;
mod problem;
mod reader;
mod report;
mod router;
mod sse;
mod stream;
mod tokens;
mod wait;
mod watchers;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub use router::DOCUMENT;
pub use tokens::{MIN_LENGTH as MIN_TOKEN_LENGTH, Tokens};

use crate::broker::Connection;
use crate::readiness::{CachedCheck, Readiness, running};
use crate::server::{self, TrackedBody};
use crate::store::{self, Store};
use parameters::MAX_WAIT;
use reader::Reader;
use report::Metrics;
use watchers::Watchers;

/// Places for connections: more than may wait, so that requests that do not wait get one, too.
const MAX_CONNECTIONS: usize = 16_384;
/// How often the list is read while RabbitMQ is unavailable, and how soon again when the database was.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The settings of the API.
pub struct Settings {
    /// What a request must carry one of.
    pub tokens: Tokens,
    /// Maximum number of requests that wait, streams included.
    pub max_waiting: usize,
    /// Longest time that a request waits, whatever it asks for.
    pub max_wait: Duration,
    /// How often a stream without events carries a comment, so that proxies do not close it.
    pub comment_interval: Duration,
}

impl Settings {
    /// The settings of the program, with these tokens.
    #[must_use]
    pub fn with_tokens(tokens: Tokens) -> Self {
        Self { tokens, max_waiting: 10_000, max_wait: MAX_WAIT, comment_interval: Duration::from_secs(15) }
    }
}

/// The read API role.
pub struct Api {
    settings: Settings,
    store: Store,
    /// The connection on which events arrive.
    events: Connection,
    watchers: Arc<Watchers>,
    metrics: Metrics,
    /// One permit for each request that may wait.
    waiting: Arc<Semaphore>,
    reader: Reader,
    database: CachedCheck,
    stop: CancellationToken,
}

impl Api {
    /// An API on `store` that answers until `stop` is cancelled. Events arrive on the connection `events`.
    #[must_use]
    pub fn new(settings: Settings, store: Store, events: Connection, stop: CancellationToken) -> Self {
        let waiting = Arc::new(Semaphore::new(settings.max_waiting));
        Self {
            settings,
            reader: Reader::new(store.clone()),
            store,
            events,
            watchers: Arc::default(),
            metrics: Metrics::register(),
            waiting,
            database: CachedCheck::default(),
            stop,
        }
    }

    /// Serves requests on `listener` until `stop`, then returns once those in progress are answered. Requests that wait are answered
    /// at once with what there is.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let stop = self.stop.clone();
        let router = router::router(Arc::clone(&self));
        let handler = move |_, request: Request<TrackedBody>| router.clone().call(request);
        let limits = server::Limits::with_max_connections(MAX_CONNECTIONS);
        let serving = async { tokio::join!(feed::run(&self), server::serve(listener, limits, handler, stop)) };
        tokio::select! {
            _ = serving => {}
            () = self.reader.run() => {}
        }
    }

    /// How many requests wait for a change, streams included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.settings.max_waiting - self.waiting.available_permits()
    }

    /// Whether the API can answer: it is not stopping, and the database answers. Without RabbitMQ it still hears of changes, later.
    pub async fn readiness(&self) -> Readiness {
        let database = self.database.check(self.store.ping(), store::Error::class);
        Readiness::new("api").check("process", running(&self.stop)).check("database", database.await)
    }
}
