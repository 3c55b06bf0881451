//! Why a request is refused, as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::broker;

/// How soon a sender may try again, in seconds.
const TRY_AGAIN: &str = "5";

/// A refusal, in the order in which they are looked at.
#[derive(Debug)]
pub(super) enum Refusal {
    NotFound,
    MethodNotAllowed,
    NotAllowed,
    Draining,
    Busy,
    TooLarge,
    TooSlow,
    Interrupted,
    Empty,
    Unsigned,
    Unconfirmed(broker::Error),
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Interrupted | Self::Empty => StatusCode::BAD_REQUEST,
            Self::Unsigned => StatusCode::UNAUTHORIZED,
            Self::Draining | Self::Busy | Self::Unconfirmed(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NotFound => "webhooks are posted to /webhooks/lean".to_owned(),
            Self::MethodNotAllowed => "webhooks are posted".to_owned(),
            Self::NotAllowed => "the sender's address is not allowed".to_owned(),
            Self::Draining => "this process is stopping".to_owned(),
            Self::Busy => "too much is under way already".to_owned(),
            Self::TooLarge => "the body is larger than the limit".to_owned(),
            Self::TooSlow => "the body did not arrive in time".to_owned(),
            Self::Interrupted => "the body broke off".to_owned(),
            Self::Empty => "the body is empty".to_owned(),
            Self::Unsigned => "lean-signature is missing, malformed or of no known secret".to_owned(),
            Self::Unconfirmed(broker::Error::Amqp(_) | broker::Error::Precondition(_)) => "RabbitMQ failed".to_owned(),
            Self::Unconfirmed(error) => error.to_string(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.detail(),
        });
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(TRY_AGAIN));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
