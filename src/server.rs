//! Accepts connections and serves HTTP on them, with a bound on everything a stranger could use up: connections, the time
//! and memory that a request's headers take, and file descriptors.
//!
//! A newcomer always gets in. When all connections are taken, the oldest makes room: at once if nothing is asked on it, else
//! when that is answered. So idle connections, however many, keep nobody out.

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
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long a request's headers may take, and how long a connection may idle before them.
const HEADERS_DEADLINE: Duration = Duration::from_secs(30);
/// The most that a request's headers may take up, and what is read ahead of a body or of the next request.
const HEADERS_BYTES: usize = 16 * 1024;
/// How long what is under way on a connection may take once it is told to end.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);
/// The pause after a connection could not be accepted, mostly for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long one connection has to make room before the next is asked to.
const MAKE_ROOM: Duration = Duration::from_millis(100);
/// File descriptors that strangers never get: for RabbitMQ, the database, files, and other listeners.
const RESERVED_FILES: u64 = 256;

/// Serves on `listener` until `stop`, on at most `most` connections at a time; then answers what is under way. `answer` is asked
/// with the peer's address and a request.
pub async fn serve<A, F, B>(listener: TcpListener, most: usize, answer: A, stop: CancellationToken)
where
    A: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let room = room_in_files();
    if room < most {
        warn!(connections = room, usual = most, "few files may be open, so few connections are taken at a time");
    }
    let mut connections = Connections::at_most(most.min(room));
    let under_way = TaskTracker::new();
    while let Some((stream, peer)) = stop.run_until_cancelled(accept(&listener)).await {
        let Some((permit, told)) = stop.run_until_cancelled(connections.admit()).await else { break };
        let connection = converse(stream, peer, answer.clone(), told);
        under_way.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    // Tells those that are left.
    drop(connections);
    under_way.close();
    if tokio::time::timeout(DRAIN_DEADLINE, under_way.wait()).await.is_err() {
        warn!("some requests were not finished in time");
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and waited for.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Tells a connection to make room; dropped, that the process is to stop.
struct MakeRoom;

/// The connections that are open.
struct Connections {
    most: usize,
    free: Arc<Semaphore>,
    /// How each of them is told to end, the oldest in front; some may have ended already.
    open: VecDeque<oneshot::Sender<MakeRoom>>,
}

impl Connections {
    fn at_most(most: usize) -> Self {
        Self { most, free: Arc::new(Semaphore::new(most)), open: VecDeque::new() }
    }

    /// Has one more, if need be once another has made room.
    async fn admit(&mut self) -> (Option<OwnedSemaphorePermit>, oneshot::Receiver<MakeRoom>) {
        if self.free.available_permits() == 0 {
            self.make_room();
        }
        let permit = loop {
            match tokio::time::timeout(MAKE_ROOM, Arc::clone(&self.free).acquire_owned()).await {
                Ok(permit) => break permit.ok(),
                Err(_) => self.make_room(),
            }
        };
        if self.open.len() >= 2 * self.most {
            self.open.retain(|connection| !connection.is_closed());
        }
        let (tell, told) = oneshot::channel();
        self.open.push_back(tell);
        (permit, told)
    }

    fn make_room(&mut self) {
        while let Some(oldest) = self.open.pop_front() {
            if oldest.send(MakeRoom).is_ok() {
                break;
            }
        }
    }
}

/// Serves one connection to its end, or until it is told.
async fn converse<A, F, B>(stream: TcpStream, peer: SocketAddr, answer: A, told: oneshot::Receiver<MakeRoom>)
where
    A: Fn(SocketAddr, Request<Incoming>) -> F,
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let answer = answer(peer, request);
        async {
            let answer = answer.await;
            asked.store(false, Ordering::Relaxed);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_DEADLINE)
        .max_buf_size(HEADERS_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // A connection that breaks is its peer's affair: what it asked for was answered or comes again.
    let told = tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        told = told => told,
    };
    if told.is_ok() && !asked.load(Ordering::Relaxed) {
        return;
    }
    connection.as_mut().graceful_shutdown();
    // A peer that never reads its answers would hold it open for ever.
    let _ = tokio::time::timeout(DRAIN_DEADLINE, connection).await;
}

/// How many connections there are file descriptors for, once as many may be open as the system lets this process have.
fn room_in_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // Where it names no limit there is none.
    let files = if raised.is_ok() { maximum } else { current }.unwrap_or(u64::MAX);
    let room = files.saturating_sub(RESERVED_FILES).max(files / 2);
    usize::try_from(room).unwrap_or(usize::MAX)
}
