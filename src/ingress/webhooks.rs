//! `POST /webhooks/lean`: receives one webhook, publishes it, and answers once RabbitMQ has confirmed it.
//!
//! The checks and their order are in docs/CONTRACT.md#4-http.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderMap};
use hyper::{Method, Request};
use metrics::Gauge;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::answer::{Answer, Rejection, accepted};
use super::signature::verify;
use super::{Ingress, ROUTE, spans};
use crate::broker::{Message, Outgoing};
use crate::domain::timestamp::Timestamp;
use crate::server::TrackedBody;
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

/// The memory for large bodies, in KiB, if none may be larger than this.
pub(super) fn body_budget_kib(max_body_bytes: usize) -> usize {
    (LARGEST_BODIES * max_body_bytes.div_ceil(1024)).min(MAX_BODY_BUDGET_KIB)
}

impl Ingress {
    /// Answers a request of the client at this address.
    pub(super) async fn answer(
        self: Arc<Self>,
        client: SocketAddr,
        request: Request<TrackedBody>,
    ) -> Result<Answer, Infallible> {
        Ok(match (request.uri().path(), request.method()) {
            (ROUTE, &Method::POST) => self.receive(client, request).await,
            (ROUTE, _) => self.respond(Err(Rejection::MethodNotAllowed)),
            _ => self.respond(Err(Rejection::NotFound)),
        })
    }

    async fn receive(&self, client: SocketAddr, request: Request<TrackedBody>) -> Answer {
        let started = Instant::now();
        let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let traceparent = traceparent.and_then(valid_traceparent);
        let mut span = Span::none();
        let result = match self.check(client, request).await {
            Ok((body, _budget)) => {
                // Only now, because a stranger must not make spans or choose their trace.
                span = spans::start(traceparent.as_deref(), started);
                self.publish(body, span.continued(traceparent.as_deref())).await
            }
            Err(rejection) => Err(rejection),
        };
        let answer = self.respond(result);
        spans::answered(&mut span, answer.status());
        self.metrics.request_duration.record(started.elapsed());
        answer
    }

    /// Makes every check that does not need RabbitMQ, and returns the body. Nothing else of the request is kept until it is answered.
    async fn check(&self, client: SocketAddr, request: Request<TrackedBody>) -> Result<BudgetedBody<'_>, Rejection> {
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
    async fn read_body(&self, mut body: TrackedBody, headers: &HeaderMap) -> Result<BudgetedBody<'_>, Rejection> {
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
    async fn read_on(&self, mut body: TrackedBody, rejection: Rejection) -> Rejection {
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

    /// The answer to a request, which is also counted. 200 says which id the message got.
    fn respond(&self, result: Result<String, Rejection>) -> Answer {
        let answer = match result {
            Ok(message_id) => accepted(&message_id),
            Err(rejection) => rejection.into(),
        };
        self.metrics.count_request(answer.status());
        answer
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
