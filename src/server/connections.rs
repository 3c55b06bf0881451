//! The open connections of a server, and which of them gives way when there are too many.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// How long an evicted connection may take to close before the next one is evicted as well.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);
/// A connection is evicted only after this time, so that clients that reconnect at once cannot push out a request that is
/// arriving. An honest post needs a few milliseconds.
const MIN_AGE: Duration = Duration::from_millis(200);

/// Sent to a connection to evict it. If the sender is dropped instead, the server is stopping.
pub(super) struct Evict;

/// Since when a connection has sent no complete request.
pub(super) struct Progress(Mutex<Option<Instant>>);

impl Progress {
    fn new() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }

    /// A request has arrived to its end; it is being handled now.
    pub(super) fn request_received(&self) {
        self.set(None);
    }

    /// The request was answered, whether or not it had arrived to its end.
    pub(super) fn request_answered(&self) {
        self.set(Some(Instant::now()));
    }

    /// Since when the client has been awaited: since the last answer, or since the connection was made. `None` while a request
    /// is being handled.
    pub(super) fn awaited_since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, awaited_since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = awaited_since;
    }
}

/// A place for a connection.
pub(super) struct Place {
    /// Returned when the connection has closed.
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) progress: Arc<Progress>,
    pub(super) eviction: oneshot::Receiver<Evict>,
}

/// The open connections.
pub(super) struct Connections {
    places: Arc<Semaphore>,
    open: Vec<(Arc<Progress>, oneshot::Sender<Evict>)>,
    max: usize,
}

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(max)), open: Vec::new(), max }
    }

    /// Takes a place for a new connection. If there is none, evicts the connection that has gone longest without a complete
    /// request, be it that its headers or its body are missing. So clients that are slow or silent, however many, do not keep
    /// a new client out.
    pub(super) async fn add(&mut self) -> Place {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                break permit;
            }
            let wait = self.evict();
            if let Ok(Ok(permit)) = timeout(wait, Arc::clone(&self.places).acquire_owned()).await {
                break permit;
            }
        };
        if self.open.len() >= 2 * self.max {
            self.forget_closed();
        }
        let (sender, eviction) = oneshot::channel();
        let progress = Arc::new(Progress::new());
        self.open.push((Arc::clone(&progress), sender));
        Place { permit, progress, eviction }
    }

    /// Evicts a connection, if one is old enough, and returns how long to wait for a place.
    fn evict(&mut self) -> Duration {
        self.forget_closed();
        let awaited = self.open.iter().enumerate();
        let awaited = awaited.filter_map(|(index, (progress, _))| Some((progress.awaited_since()?, index)));
        let Some((since, index)) = awaited.min() else { return EVICTION_INTERVAL };
        match MIN_AGE.checked_sub(since.elapsed()) {
            Some(remaining) if !remaining.is_zero() => remaining.min(EVICTION_INTERVAL),
            _ => {
                let (_, connection) = self.open.swap_remove(index);
                let _ = connection.send(Evict);
                EVICTION_INTERVAL
            }
        }
    }

    fn forget_closed(&mut self) {
        self.open.retain(|(_, connection)| !connection.is_closed());
    }
}
