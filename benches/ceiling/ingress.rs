//! The ceiling of the ingress: verifies the same signature and publishes the same message with a confirm.
//!
//! It omits: limits on size, time, senders and publishes in flight, reconnecting, draining, metrics, logs, traces.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hmac::{Hmac, Mac};
use lapin::Channel;
use serde_json::json;
use sha2::Sha512;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::args::CeilingIngress;
use crate::process::LISTENING;
use crate::{broker, progress, webhook};

/// Capacity of the channel to the publishing task.
const CAPACITY: usize = 4096;

/// A body, and where to send whether RabbitMQ has confirmed it.
type Request = (Bytes, oneshot::Sender<bool>);

struct Ingress {
    key: Hmac<Sha512>,
    requests: mpsc::Sender<Request>,
}

/// Serves until SIGTERM.
pub(crate) async fn run(args: &CeilingIngress) -> Result<()> {
    let connection = broker::connect(&std::env::var("AMQP_URL")?).await?;
    let channel = broker::confirming(&connection).await?;
    let (requests, received) = mpsc::channel(CAPACITY);
    tokio::spawn(publish_all(channel, format!("{}.webhooks", args.namespace), received));
    let key = webhook::key(&std::env::var("LEAN_WEBHOOK_SECRETS")?)?;
    let router = Router::new().route("/webhooks/lean", post(receive)).with_state(Arc::new(Ingress { key, requests }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    progress::print(&json!({ "message": LISTENING, "listen": listener.local_addr()?.to_string() }).to_string());
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        _ = terminate.recv() => {}
    }
    // Not closed: lapin 4.12.3 may wait for that without end, when the last user of the channel goes at the same time.
    drop(connection);
    Ok(())
}

async fn receive(State(ingress): State<Arc<Ingress>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers.get("lean-signature").and_then(|header| header.as_bytes().strip_prefix(b"sha512="));
    let mut digest = [0; 64];
    if signature.is_none_or(|signature| hex::decode_to_slice(signature, &mut digest).is_err())
        || ingress.key.clone().chain_update(&body).verify_slice(&digest).is_err()
    {
        return StatusCode::UNAUTHORIZED;
    }
    let (sender, confirmed) = oneshot::channel();
    if ingress.requests.send((body, sender)).await.is_ok() && confirmed.await == Ok(true) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Owns the channel: when several tasks publish on one, lapin attributes confirms to the wrong messages.
async fn publish_all(channel: Channel, exchange: String, mut requests: mpsc::Receiver<Request>) {
    let mut in_flight = FuturesUnordered::new();
    let publish = async |(body, sender): Request| {
        let published = broker::publish(&channel, &exchange, "lean", &body, broker::webhook_properties()).await;
        let _ = sender.send(published.is_ok());
    };
    loop {
        tokio::select! {
            biased;
            Some(()) = in_flight.next() => {}
            request = requests.recv() => match request {
                Some(request) => in_flight.push(publish(request)),
                None => return,
            },
        }
    }
}
