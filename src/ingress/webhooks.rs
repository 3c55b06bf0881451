//! `POST /webhooks/lean`: receives one webhook, publishes it, and answers once RabbitMQ has confirmed it.
//!
//! The checks and their order are in docs/CONTRACT.md#4-http.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use metrics::Gauge;
use serde::Serialize;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Ingress;
use super::problem::Rejection;
use super::signature::verify;
use super::spans;
use crate::broker::{Message, Outgoing};
use crate::domain::timestamp::Timestamp;
use crate::telemetry::{Span, trace_id, valid_traceparent};

/// How many bodies of the maximum size fit into the memory for large bodies. A request that does not fit is answered 503.
const LARGEST_BODIES: usize = 128;
/// Maximum memory for large bodies, in KiB: 256 MiB.
const MAX_BODY_BUDGET_KIB: usize = 256 * 1024;
/// Bodies up to this size do not count against the budget. Lean's webhooks are far below it.
const SMALL_BODY_BYTES: usize = 16 * 1024;
/// How much is read of a body that is refused, after that.
const LINGERING_BYTES: usize = 8 * 1024 * 1024;

/// A body, and the part of the body budget that it occupies.
type BudgetedBody<'a> = (Bytes, Option<SemaphorePermit<'a>>);

pub(super) fn router(ingress: Arc<Ingress>) -> Router {
    Router::new()
        .route("/webhooks/lean", post(receive))
        .method_not_allowed_fallback(async |State(ingress): State<Arc<Ingress>>| {
            ingress.respond(Err(Rejection::MethodNotAllowed))
        })
        .fallback(async |State(ingress): State<Arc<Ingress>>| ingress.respond(Err(Rejection::NotFound)))
        .with_state(ingress)
}

async fn receive(
    State(ingress): State<Arc<Ingress>>,
    Extension(client): Extension<SocketAddr>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let traceparent = traceparent.and_then(valid_traceparent);
    let mut span = Span::none();
    let result = async {
        let (body, _budget) = ingress.check(client, request).await?;
        // Only now, because a stranger must not make spans or choose their trace.
        span = spans::start(traceparent.as_deref(), started);
        ingress.publish(body, span.continued(traceparent.as_deref())).await
    };
    let result = result.await;
    let response = ingress.respond(result);
    spans::answered(&mut span, response.status());
    ingress.metrics.request_duration.record(started.elapsed());
    response
}

/// The memory for large bodies, in KiB, if none may be larger than this.
pub(super) fn body_budget_kib(max_body_bytes: usize) -> usize {
    (LARGEST_BODIES * max_body_bytes.div_ceil(1024)).min(MAX_BODY_BUDGET_KIB)
}

impl Ingress {
    /// Makes every check that does not need RabbitMQ, and returns the body.
    async fn check(&self, client: SocketAddr, request: Request) -> Result<BudgetedBody<'_>, Rejection> {
        let (head, body) = request.into_parts();
        if !self.settings.senders.allow(client, &head.headers) {
            return Err(Rejection::SenderNotAllowed);
        }
        if self.stop.is_cancelled() {
            return Err(Rejection::ShuttingDown);
        }
        if self.publish_permits.available_permits() == 0 {
            return Err(Rejection::Overloaded);
        }
        let body = timeout(self.settings.limits.body_deadline, self.read_body(body, &head.headers)).await;
        let (body, budget) = body.map_err(|_| Rejection::BodyTimeout)??;
        if body.is_empty() {
            return Err(Rejection::EmptyBody);
        }
        let key = verify(&self.settings.keys, &head.headers, &body);
        self.metrics.count_signature(key);
        key.map(|_| (body, budget)).ok_or(Rejection::InvalidSignature)
    }

    /// Reads the body, unless it is too large: that is known from its announced length, or while reading.
    async fn read_body(&self, mut body: Body, headers: &HeaderMap) -> Result<BudgetedBody<'_>, Rejection> {
        let limit = self.settings.max_body_bytes;
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|announced| announced > limit as u64) {
            // A sender that asks first has sent nothing yet. Reading would tell it to continue.
            if headers.contains_key(EXPECT) {
                return Err(Rejection::BodyTooLarge);
            }
            return Err(self.read_on(body, Rejection::BodyTooLarge).await);
        }
        let (mut bytes, mut budget) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Rejection::BodyInterrupted)?.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > limit {
                return Err(self.read_on(body, Rejection::BodyTooLarge).await);
            }
            if length > SMALL_BODY_BYTES && budget.is_none() {
                // Takes the maximum at once: bodies that grow their share step by step could block each other.
                let max_kib = u32::try_from(limit.div_ceil(1024)).unwrap_or(u32::MAX);
                budget = self.body_budget.try_acquire_many(max_kib).ok();
                if budget.is_none() {
                    return Err(self.read_on(body, Rejection::Overloaded).await);
                }
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), budget))
    }

    /// Reads on for a moment: if the connection closed at once, a sender that still writes would not see the answer. Returns `rejection`.
    async fn read_on(&self, mut body: Body, rejection: Rejection) -> Rejection {
        let read_on = async {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > LINGERING_BYTES {
                    break;
                }
            }
        };
        let _ = timeout(self.settings.limits.lingering_timeout, read_on).await;
        rejection
    }

    fn respond(&self, result: Result<String, Rejection>) -> Response {
        let response = result.map(|message_id| Json(Accepted { message_id })).into_response();
        self.metrics.count_request(response.status());
        response
    }

    /// Publishes the body and waits for RabbitMQ's confirm. Returns the message's id.
    async fn publish(&self, body: Bytes, traceparent: Option<String>) -> Result<String, Rejection> {
        let _permit = self.publish_permits.try_acquire().map_err(|_| Rejection::Overloaded)?;
        let _in_flight = InFlight::start(&self.metrics.in_flight);
        let message = Message::received(body, Timestamp::now(), traceparent);
        let outgoing = Outgoing::webhook(self.publisher.connection().topology(), &message);
        match self.publisher.publish(outgoing, self.settings.confirm_deadline).await {
            Ok(()) => {
                debug!(message.id, "accepted a webhook");
                Ok(message.id)
            }
            Err(error) => {
                let trace_id = trace_id(message.traceparent.as_deref());
                warn!(message.id, trace.id = trace_id, %error, "rejected a webhook with 503; Lean sends it again");
                Err(Rejection::Unconfirmed(error))
            }
        }
    }
}

/// Counts a publish as unconfirmed. A guard, because a request's future is dropped when its client disconnects.
struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn start(gauge: &'a Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// The answer 200.
#[derive(Serialize)]
struct Accepted {
    message_id: String,
}
