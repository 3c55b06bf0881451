//! `POST /webhooks/lean`: one webhook from the socket to the broker's confirm, in the order of the contract's table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use metrics::{counter, gauge, histogram};
use serde_json::json;
use tokio::sync::SemaphorePermit;
use tracing::{Instrument, debug, info_span, warn};

use super::problem::Refusal;
use super::{Ingress, Peer};
use crate::broker::{Message, Outgoing};
use crate::domain::timestamp::Timestamp;
use crate::telemetry;

/// What large bodies may take up together, in KiB: 256 MiB. A sender who finds it full is told to come again.
pub(super) const BODY_BUDGET_KIB: usize = 256 * 1024;
/// A body up to this size, as every honest webhook is, needs no room of its own.
const SMALL_BYTES: usize = 16 * 1024;
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How much of a body that is too large is read on before the connection is closed, and for how long: a sender that is
/// still writing would otherwise never see the answer.
const LINGER_BYTES: usize = 8 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// The one route, and refusals for everything else.
pub(super) fn router(ingress: Arc<Ingress>) -> Router {
    Router::new()
        .route("/webhooks/lean", post(receive))
        .method_not_allowed_fallback(async || answer(Err(Refusal::MethodNotAllowed)))
        .fallback(async || answer(Err(Refusal::NotFound)))
        .with_state(ingress)
}

async fn receive(
    State(ingress): State<Arc<Ingress>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let came_in = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let came_in = came_in.and_then(telemetry::valid_traceparent).map(str::to_owned);
    let span = info_span!("receive webhook");
    telemetry::set_parent(&span, came_in.as_deref());
    let accepted = async {
        let (body, _room) = ingress.check(peer, request).await?;
        ingress.hand_over(body, came_in.as_deref()).await
    };
    let response = answer(accepted.instrument(span).await);
    histogram!("banklink_ingress_request_duration_seconds").record(began.elapsed());
    response
}

impl Ingress {
    /// Everything that is looked at before the broker is troubled; the body, if it is Lean's.
    async fn check(&self, peer: SocketAddr, request: Request) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Refusal> {
        let (head, body) = request.into_parts();
        if !self.settings.senders.allow(peer, &head.headers) {
            return Err(Refusal::NotAllowed);
        }
        if self.stop.is_cancelled() {
            return Err(Refusal::Draining);
        }
        if self.publish_permits.available_permits() == 0 {
            return Err(Refusal::Busy);
        }
        let body = self.read(body, &head.headers);
        let (body, room) = tokio::time::timeout(BODY_DEADLINE, body).await.map_err(|_| Refusal::TooSlow)??;
        if body.is_empty() {
            return Err(Refusal::Empty);
        }
        let key = self.settings.keys.verify(&head.headers, &body);
        counter!("banklink_ingress_signatures_total", "key" => key_label(key)).increment(1);
        key.map(|_| (body, room)).ok_or(Refusal::Unsigned)
    }

    /// The body and the room it takes up, or why not; one that is too large is refused as soon as that is known.
    async fn read(&self, mut body: Body, headers: &HeaderMap) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Refusal> {
        let limit = self.settings.max_body_bytes;
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|announced| announced > limit as u64) {
            return Err(linger(body).await);
        }
        let (mut bytes, mut room) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Refusal::Interrupted)?.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > limit {
                return Err(linger(body).await);
            }
            if length > SMALL_BYTES && room.is_none() {
                // As much as it may grow to, so that nobody waits for more with half of it taken.
                let most = u32::try_from(limit.div_ceil(1024)).unwrap_or(u32::MAX);
                room = Some(self.body_budget.try_acquire_many(most).map_err(|_| Refusal::Busy)?);
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), room))
    }

    /// Has the broker confirm the body; the message's id.
    async fn hand_over(&self, body: Bytes, came_in: Option<&str>) -> Result<String, Refusal> {
        let _permit = self.publish_permits.try_acquire().map_err(|_| Refusal::Busy)?;
        let _counted = InFlight::count();
        let message = Message::received(body, Timestamp::now(), telemetry::traceparent(came_in));
        let outgoing = Outgoing::webhook(self.publisher.connection().topology(), &message);
        let confirmed = self.publisher.publish(outgoing, self.settings.deadline).await;
        match confirmed {
            Ok(()) => {
                debug!(message.id, "accepted a webhook");
                Ok(message.id)
            }
            Err(error) => {
                warn!(message.id, %error, "turned a webhook away: Lean will send it again");
                Err(Refusal::Unconfirmed(error))
            }
        }
    }
}

/// Counts a publish as unconfirmed for as long as it is held, even if its sender hangs up meanwhile.
struct InFlight;

impl InFlight {
    fn count() -> Self {
        gauge!("banklink_ingress_in_flight").increment(1);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("banklink_ingress_in_flight").decrement(1);
    }
}

/// Reads on for a moment and keeps nothing of it.
async fn linger(mut body: Body) -> Refusal {
    let read_on = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > LINGER_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, read_on).await;
    Refusal::TooLarge
}

fn answer(accepted: Result<String, Refusal>) -> Response {
    let (status, response) = match accepted {
        Ok(message_id) => (StatusCode::OK, Json(json!({ "message_id": message_id })).into_response()),
        Err(refusal) => (refusal.status(), refusal.into_response()),
    };
    counter!("banklink_ingress_requests_total", "status" => status.as_u16().to_string()).increment(1);
    response
}

fn key_label(key: Option<usize>) -> String {
    key.map_or_else(|| "none".to_owned(), |position| position.to_string())
}

/// Shows the metrics from the start, at 0.
pub(super) fn register_metrics(keys: usize) {
    for status in ["200", "400", "401", "403", "404", "405", "408", "413", "503"] {
        counter!("banklink_ingress_requests_total", "status" => status).absolute(0);
    }
    for key in (0..keys).map(Some).chain([None]) {
        counter!("banklink_ingress_signatures_total", "key" => key_label(key)).absolute(0);
    }
    gauge!("banklink_ingress_in_flight").set(0);
}
