//! An HTTP/1.1 server with bounds on what its clients may use: connections, header size, time and open files.
//!
//! When the maximum number of connections is reached, the one that has gone longest without a complete request is evicted
//! for each new one.

mod connections;
pub mod forwarded;
mod problem;
mod tracked_body;

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use connections::{Connections, Place};
pub use problem::problem;
use tracked_body::ResponseBody;
pub use tracked_body::TrackedBody;

/// Maximum size of a request's headers, and of what is read ahead of the body or of the next request.
const MAX_BUFFER_BYTES: usize = 16 * 1024;
/// Delay after a failed accept. The usual cause is a lack of file descriptors.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);
/// Maximum number of connections that wait to be accepted. The kernel's own limit (`net.core.somaxconn`) may lower it.
const BACKLOG: u32 = 4096;
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

/// Listens on an address with a port, such as `127.0.0.1:8080` or `localhost:8080`.
///
/// # Errors
/// When the address does not exist here or is in use.
pub async fn bind(address: &str) -> std::io::Result<TcpListener> {
    let mut result = Err(std::io::ErrorKind::AddrNotAvailable.into());
    for address in lookup_host(address).await? {
        result = bind_one(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn bind_one(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted process can listen while connections of the one before it linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections on `listener` until `stop`, then returns once the requests in progress are answered, or the drain
/// deadline has passed. `handler` is called with the client's address and each request.
pub async fn serve<H, F, B>(listener: TcpListener, mut limits: Limits, handler: H, stop: CancellationToken)
where
    H: Fn(SocketAddr, Request<TrackedBody>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
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
    let mut connections = Connections::new(limits.max_connections);
    let tasks = TaskTracker::new();
    while let Some((stream, client)) = stop.run_until_cancelled(accept(&listener)).await {
        let Some(place) = stop.run_until_cancelled(connections.add()).await else { break };
        tasks.spawn(serve_connection(stream, client, limits, handler.clone(), place));
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

/// Serves one connection until it closes, is evicted, or the server stops.
async fn serve_connection<H, F, B>(stream: TcpStream, client: SocketAddr, limits: Limits, handler: H, place: Place)
where
    H: Fn(SocketAddr, Request<TrackedBody>) -> F,
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static,
{
    // The permit is returned when this function ends.
    let Place { permit: _permit, progress, eviction } = place;
    let service = service_fn(|request: Request<Incoming>| {
        let response = handler(client, request.map(|body| TrackedBody::new(body, Arc::clone(&progress))));
        let progress = Arc::clone(&progress);
        async { response.await.map(|response| response.map(|body| ResponseBody::new(body, progress))) }
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
    if is_evicted && progress.awaited_since().is_some() {
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
