//! Why a request is refused, as `application/problem+json` (RFC 9457).

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::tokens::Refused;
use crate::server::problem;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Problem {
    NotFound,
    UnknownLink,
    /// The path has no other methods than GET and HEAD. The router has set `allow`.
    MethodNotAllowed,
    Unauthorized(Refused),
    /// A parameter is invalid; the text names it and says what was expected.
    Invalid(&'static str),
    /// Too many requests wait already.
    TooManyWaiting,
    /// The database did not answer; the class of its error.
    Database(&'static str),
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, detail) = match &self {
            Self::NotFound => (StatusCode::NOT_FOUND, "there is no such path; /v1/openapi.json lists the paths"),
            Self::UnknownLink => (StatusCode::NOT_FOUND, "no bank link has this entity_id, a UUID"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "the methods are GET and HEAD"),
            Self::Unauthorized(Refused::NoToken) => {
                (StatusCode::UNAUTHORIZED, "expected `Authorization: Bearer TOKEN`")
            }
            Self::Unauthorized(Refused::WrongToken) => (StatusCode::UNAUTHORIZED, "the token is not accepted"),
            Self::Invalid(expected) => (StatusCode::BAD_REQUEST, *expected),
            Self::TooManyWaiting => (StatusCode::SERVICE_UNAVAILABLE, "too many requests are waiting"),
            Self::Database(class) => (StatusCode::SERVICE_UNAVAILABLE, *class),
        };
        let mut response = problem(status, detail).into_response();
        if let Self::Unauthorized(refused) = self {
            // RFC 6750, section 3: an error code only if a token was presented.
            let challenge = match refused {
                Refused::NoToken => r#"Bearer realm="banklink""#,
                Refused::WrongToken => r#"Bearer realm="banklink", error="invalid_token""#,
            };
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
