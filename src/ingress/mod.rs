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

/// What the handlers share.
struct Ingress {
    settings: Settings,
    publisher: Publisher,
    /// One permit for each publish that may be unconfirmed at a time.
    slots: Semaphore,
    /// What large bodies may take up together, in KiB.
    room: Semaphore,
    stop: CancellationToken,
}

/// Serves webhooks on `listener` until `stop`; then lets those under way be answered.
pub async fn run(listener: TcpListener, settings: Settings, publisher: Publisher, stop: CancellationToken) {
    webhooks::register_metrics(settings.keys.count());
    let slots = Semaphore::new(settings.max_in_flight);
    let room = Semaphore::new(webhooks::ROOM_KIB);
    let ingress = Arc::new(Ingress { settings, publisher, slots, room, stop: stop.clone() });
    let router = webhooks::router(ingress);
    let answer = move |peer, mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    };
    server::serve(listener, MAX_CONNECTIONS, answer, stop).await;
}
