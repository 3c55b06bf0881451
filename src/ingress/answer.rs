//! What a sender is answered with: the id of the accepted message, or an error as `application/problem+json` (RFC 9457).

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::broker;
use crate::server::problem;

/// The answer to a request.
pub(super) type Answer = Response<Full<Bytes>>;

/// 200: the webhook is in RabbitMQ, with this id.
pub(super) fn accepted(message_id: &str) -> Answer {
    let mut answer = Answer::new(json!({ "message_id": message_id }).to_string().into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Why a request is rejected. The variants are in the order of the checks (docs/CONTRACT.md#4-http).
#[derive(Debug)]
pub(super) enum Rejection {
    NotFound,
    MethodNotAllowed,
    SenderNotAllowed,
    ShuttingDown,
    /// Too many unconfirmed publishes, or no memory left for a large body.
    Overloaded,
    BodyTooLarge,
    BodyTimeout,
    /// The connection failed, or the body was malformed HTTP.
    BodyInterrupted,
    EmptyBody,
    InvalidSignature,
    /// RabbitMQ did not confirm the message.
    Unconfirmed(broker::Error),
}

impl Rejection {
    /// The HTTP status, and the `detail` of the problem.
    fn status_and_detail(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "the path for webhooks is /webhooks/lean"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "the method for webhooks is POST"),
            Self::SenderNotAllowed => (StatusCode::FORBIDDEN, "this address is not allowed to send webhooks"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "too many requests are in progress"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than the limit"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
            Self::BodyInterrupted => (StatusCode::BAD_REQUEST, "the body could not be read to its end"),
            Self::EmptyBody => (StatusCode::BAD_REQUEST, "the body is empty"),
            Self::InvalidSignature => {
                (StatusCode::UNAUTHORIZED, "lean-signature is missing, malformed or not of a known secret")
            }
            Self::Unconfirmed(error) => (StatusCode::SERVICE_UNAVAILABLE, error.class()),
        }
    }
}

impl From<Rejection> for Answer {
    fn from(rejection: Rejection) -> Self {
        let (status, detail) = rejection.status_and_detail();
        let mut response = problem(status, detail);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
