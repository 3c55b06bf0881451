//! An HTTP/1.1 server with bounds on what its clients may use: connections, header size, time and open files.
//!
//! When the maximum number of connections is reached, the oldest one is evicted for each new one: at once if no request
//! is being handled on it, else after the response. So idle connections, however many, never keep a new client out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Maximum size of a request's headers, and of what is read ahead of the body or of the next request.
const MAX_BUFFER_BYTES: usize = 16 * 1024;
/// Delay after a failed accept. The usual cause is a lack of file descriptors.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);
/// How long an evicted connection may take to close before the next one is evicted as well.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);
/// File descriptors that are not used for connections: for RabbitMQ, the database, files and other listeners.
const RESERVED_FILES: u64 = 256;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of connections. The limit on open files may lower it.
    pub max_connections: usize,
    /// How long a request's headers may take to arrive, the idle time before them included.
    pub headers_deadline: Duration,
    /// How long the current request may take once its connection is evicted or the server stops.
    pub drain_deadline: Duration,
}

impl Limits {
    /// The default limits, with this maximum number of connections.
    #[must_use]
    pub fn with_max_connections(max_connections: usize) -> Self {
        let (headers_deadline, drain_deadline) = (Duration::from_secs(30), Duration::from_secs(15));
        Self { max_connections, headers_deadline, drain_deadline }
    }
}

/// Serves connections on `listener` until `stop`, then returns once the requests in progress are answered, or the drain
/// deadline has passed. `handler` is called with the client's address and each request.
pub async fn serve<H, F, B>(listener: TcpListener, mut limits: Limits, handler: H, stop: CancellationToken)
where
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let max_by_files = max_connections_by_open_files();
    if max_by_files < limits.max_connections {
        warn!(
            connections = max_by_files,
            default = limits.max_connections,
            "the limit on open files lowers the maximum number of connections"
        );
        limits.max_connections = max_by_files;
    }
    let (max, permits) = (limits.max_connections, Arc::new(Semaphore::new(limits.max_connections)));
    let mut connections = Connections { max, permits, evictions: VecDeque::new() };
    let tasks = TaskTracker::new();
    while let Some((stream, client)) = stop.run_until_cancelled(accept(&listener)).await {
        let Some((permit, eviction)) = stop.run_until_cancelled(connections.add()).await else { break };
        let connection = serve_connection(stream, client, limits, handler.clone(), eviction);
        tasks.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    // Begins the graceful shutdown of every open connection.
    drop(connections);
    tasks.close();
    if timeout(limits.drain_deadline, tasks.wait()).await.is_err() {
        warn!("requests were aborted at the drain deadline");
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                // Responses are small and clients wait for them. Without this option they would only be slower.
                let _ = stream.set_nodelay(true);
                return (stream, client);
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_DELAY).await;
            }
        }
    }
}

/// Sent to a connection to evict it. If the sender is dropped instead, the server is stopping.
struct Evict;

/// The open connections.
struct Connections {
    max: usize,
    permits: Arc<Semaphore>,
    /// One sender for each connection, the oldest first. Those of closed connections are removed from time to time.
    evictions: VecDeque<oneshot::Sender<Evict>>,
}

impl Connections {
    /// Adds a connection, and evicts older ones until there is a permit for it.
    async fn add(&mut self) -> (OwnedSemaphorePermit, oneshot::Receiver<Evict>) {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                break permit;
            }
            // Evicts the oldest one. Sending fails for those that have closed in the meantime.
            while self.evictions.pop_front().is_some_and(|oldest| oldest.send(Evict).is_err()) {}
            if let Ok(Ok(permit)) = timeout(EVICTION_INTERVAL, Arc::clone(&self.permits).acquire_owned()).await {
                break permit;
            }
        };
        if self.evictions.len() >= 2 * self.max {
            self.evictions.retain(|connection| !connection.is_closed());
        }
        let (sender, receiver) = oneshot::channel();
        self.evictions.push_back(sender);
        (permit, receiver)
    }
}

/// Serves one connection until it closes, is evicted, or the server stops.
async fn serve_connection<H, F, B>(
    stream: TcpStream,
    client: SocketAddr,
    limits: Limits,
    handler: H,
    eviction: oneshot::Receiver<Evict>,
) where
    H: Fn(SocketAddr, Request<Incoming>) -> F,
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let is_handling = AtomicBool::new(false);
    let service = service_fn(|request| {
        is_handling.store(true, Ordering::Relaxed);
        let response = handler(client, request);
        async {
            let response = response.await;
            is_handling.store(false, Ordering::Relaxed);
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_deadline)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let is_evicted = tokio::select! {
        biased;
        // Errors are the client's: it disconnected or sent malformed HTTP. A webhook without an answer is sent again.
        _ = connection.as_mut() => return,
        eviction = eviction => eviction.is_ok(),
    };
    if is_evicted && !is_handling.load(Ordering::Relaxed) {
        return;
    }
    connection.as_mut().graceful_shutdown();
    // A client that does not read its responses would keep the connection open without end.
    let _ = timeout(limits.drain_deadline, connection).await;
}

/// Raises the limit on open files to the maximum for this process, and returns how many connections it allows.
fn max_connections_by_open_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // `None` means unlimited.
    let files = if raised.is_ok() { maximum } else { current }.unwrap_or(u64::MAX);
    let connections = files.saturating_sub(RESERVED_FILES).max(files / 2);
    usize::try_from(connections).unwrap_or(usize::MAX)
}
