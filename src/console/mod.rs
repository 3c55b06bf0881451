//! The console role: the operator's web page (docs/CONTRACT.md#12-the-console).
//!
//! Pages are rendered here and work without script. Every request passes `access.rs`, which knows who asks and what they may;
//! `routes.rs` lists the addresses with their rights. What is shown comes from the database, RabbitMQ and the admin addresses of the
//! other processes; what is done is done by the functions that the command line uses.

mod access;
mod assets;
mod attempts;
mod audit;
mod chart;
mod cookie;
mod difference;
mod discard;
mod edit;
mod effects;
mod export;
mod facts;
mod fault;
mod fields;
mod kinds;
mod layout;
mod letter;
mod letter_actions;
mod letter_filter;
mod letters;
mod link;
mod links;
mod live;
mod logged_out;
mod login;
mod loopback;
mod minutes;
mod overview;
mod parts;
mod processes;
mod reconciliation;
mod redirect;
mod replays;
mod rights;
mod routes;
mod scrape;
mod seal;
mod selection;
mod sessions;
mod settings;
mod timeline;
mod verdict;
mod visit;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub use rights::{Right, Role, Route};
pub use routes::ROUTES;
pub use settings::{
    Account, Changes, Login, MIN_TOKEN_BYTES, Settings, parse_accounts, parse_groups, parse_path_prefix,
};

use crate::broker::{Connection, Publisher};
use crate::dead_letters::{ReplayRunner, ReplayWorker};
use crate::readiness::{CachedCheck, Readiness, running};
use crate::server::{self, TrackedBody};
use crate::store::{self, Store};
use attempts::Attempts;
use facts::Facts;
use processes::Processes;
use replays::started::Started;
use seal::Seal;
use sessions::Sessions;

/// Maximum number of connections.
const MAX_CONNECTIONS: usize = 512;
/// Maximum number of pages, and of changes, that are made at the same time: they share ten connections to the database.
const MAX_REQUESTS: usize = 6;
const MAX_CHANGES: usize = 3;

/// Why there can be no console: no HTTP client can be created, for the admin addresses.
#[derive(Debug, thiserror::Error)]
#[error("cannot create an HTTP client")]
pub struct Unavailable(#[from] reqwest::Error);

/// The console role.
pub struct Console {
    settings: Settings,
    prefix: Arc<str>,
    store: Store,
    publisher: Publisher,
    sessions: Sessions,
    attempts: Attempts,
    seal: Seal,
    /// The forms that have started replays. Held while one is made.
    started: Mutex<Started>,
    facts: Facts,
    processes: Processes,
    /// One permit for each page that is being made, and for each change.
    requests: Semaphore,
    changes: Semaphore,
    /// One permit for each form of a client who is not known, whose text is kept.
    kept: Semaphore,
    /// One permit for each page that keeps itself up to date.
    streams: Arc<Semaphore>,
    /// Held while the stream of events is read.
    streams_read: Mutex<()>,
    database: CachedCheck,
    stop: CancellationToken,
}

impl Console {
    /// A console on `store`, which should have connections of its own, that answers until `stop` is cancelled. `events` is the
    /// connection on which it asks RabbitMQ about queues.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn new(
        settings: Settings,
        store: Store,
        publisher: Publisher,
        events: Connection,
        stop: CancellationToken,
    ) -> Result<Self, Unavailable> {
        Ok(Self {
            prefix: settings.path_prefix.as_str().into(),
            processes: Processes::new(settings.processes.clone())?,
            facts: Facts::new(store.clone(), events),
            settings,
            store,
            publisher,
            sessions: Sessions::default(),
            attempts: Attempts::default(),
            seal: Seal::new(),
            started: Mutex::default(),
            requests: Semaphore::new(MAX_REQUESTS),
            changes: Semaphore::new(MAX_CHANGES),
            kept: Semaphore::new(logged_out::MAX_KEPT),
            streams: Arc::new(Semaphore::new(live::MAX_STREAMS)),
            streams_read: Mutex::default(),
            database: CachedCheck::default(),
            stop,
        })
    }

    /// Serves pages on `listener`, and works on replays that no other process works on unless the console is read-only, until `stop`.
    /// Then returns once the requests in progress are answered and the batches in progress are published.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let (stop, prefix) = (self.stop.clone(), Arc::clone(&self.prefix));
        let router = routes::router(Arc::clone(&self));
        let handler = move |client: SocketAddr, mut request: Request<TrackedBody>| {
            let mut router = router.clone();
            let below = below_prefix(request.uri(), &prefix);
            async move {
                let Some(uri) = below else { return Ok(StatusCode::NOT_FOUND.into_response()) };
                *request.uri_mut() = uri;
                request.extensions_mut().insert(client);
                router.call(request).await
            }
        };
        let limits = server::Limits::with_max_connections(MAX_CONNECTIONS);
        let asking = self.stop.run_until_cancelled(self.processes.run());
        let worker = ReplayWorker { store: self.store.clone(), publisher: self.publisher.clone() };
        let mut runner = ReplayRunner::new(worker, self.stop.clone());
        let replaying = async {
            if self.settings.changes == Changes::Allowed {
                runner.run().await;
            }
        };
        tokio::join!(server::serve(listener, limits, handler, stop), asking, replaying);
    }

    /// Asks the admin addresses once, as it otherwise does every ten seconds.
    pub async fn ask_processes(&self) {
        self.processes.step().await;
    }

    /// Whether the console can show letters: it is not stopping, and the database answers. Without RabbitMQ it still shows them.
    pub async fn readiness(&self) -> Readiness {
        let database = self.database.check(self.store.ping(), store::Error::class);
        Readiness::new("console").check("process", running(&self.stop)).check("database", database.await)
    }
}

/// The address below the path prefix; `None` if it is not below it.
fn below_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    if prefix.is_empty() {
        return Some(uri.clone());
    }
    let path = uri.path().strip_prefix(prefix).filter(|path| path.is_empty() || path.starts_with('/'))?;
    let path = if path.is_empty() { "/" } else { path };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().ok()
}
