//! A receiver of webhooks that answers as the test wants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use banklink::server::{self, TrackedBody};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use serde_json::Value;
use testkit::{SECRET, fixtures};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than any deadline of a test.
const NEVER: Duration = Duration::from_secs(3600);

/// How a post is answered.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    Status(u16),
    None,
}

/// What was posted, in the order of its arrival.
pub(super) struct Receiver {
    pub(super) url: String,
    posts: Arc<Mutex<Vec<Value>>>,
    _stop: DropGuard,
}

impl Receiver {
    /// Answers each post with 200.
    pub(super) async fn start() -> Self {
        Self::answering(|_| Reply::Status(200)).await
    }

    /// `reply` gets the number of the post, from 0. Every post must be signed.
    pub(super) async fn answering(reply: fn(usize) -> Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks/lean", listener.local_addr().unwrap());
        let (posts, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let recorded = Arc::clone(&posts);
        let handler = move |_, request: Request<TrackedBody>| {
            let posts = Arc::clone(&recorded);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let is_signed = head.headers["lean-signature"] == fixtures::signature(SECRET, &body);
                let number = {
                    let mut posts = posts.lock().unwrap();
                    posts.push(if is_signed { serde_json::from_slice(&body).unwrap() } else { Value::Null });
                    posts.len() - 1
                };
                let status = match reply(number) {
                    Reply::Status(status) => status,
                    Reply::None => {
                        tokio::time::sleep(NEVER).await;
                        500
                    }
                };
                Ok(Response::builder().status(status).body(Full::<Bytes>::default()).unwrap())
            }
        };
        let limits = server::Limits::with_max_connections(64);
        tokio::spawn(server::serve(listener, limits, handler, stop.clone()));
        Self { url, posts, _stop: stop.drop_guard() }
    }

    /// The webhooks posted so far; null where the signature was wrong.
    pub(super) fn posts(&self) -> Vec<Value> {
        self.posts.lock().unwrap().clone()
    }

    /// The entity of each webhook posted so far.
    pub(super) fn entities(&self) -> Vec<String> {
        let entity = |post: &Value| post["payload"]["id"].as_str().unwrap().to_owned();
        self.posts().iter().map(entity).collect()
    }
}
