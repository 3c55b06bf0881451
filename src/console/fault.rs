//! Why a request does not get the page that it asked for.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::dead_letters::EditError;
use crate::{broker, store};

/// Why a request does not get its page. The text of each is a whole sentence for the page about it, and holds no customer data.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// There is nothing at this address.
    NotFound(&'static str),
    /// The path has no such method.
    MethodNotAllowed,
    /// What was asked for makes no sense.
    Invalid(String),
    /// The user may not do this, or not from there.
    Forbidden(String),
    /// What was looked at has changed since.
    Conflict(String),
    /// A form was larger than its limit.
    TooLarge,
    /// The database did not answer; the class of its error.
    Database(&'static str),
    /// RabbitMQ did not answer; the class of its error.
    Broker(&'static str),
    /// The request took too long, or too many others are being answered.
    Busy,
}

impl Fault {
    /// The status, the heading and the explanation.
    pub(super) fn parts(&self) -> (StatusCode, &'static str, String) {
        match self {
            Self::NotFound(what) => (StatusCode::NOT_FOUND, "Not found", (*what).to_owned()),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
                "This address is used in another way.".to_owned(),
            ),
            Self::Invalid(why) => (StatusCode::BAD_REQUEST, "This cannot be done", why.clone()),
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, "Not allowed", why.clone()),
            Self::Conflict(why) => (StatusCode::CONFLICT, "It has changed since you looked", why.clone()),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too large for a form",
                "Use the command line: banklink dead-letters edit ID --body FILE.".to_owned(),
            ),
            Self::Database(class) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database does not answer",
                format!(
                    "{class}. Webhooks that arrive meanwhile wait on RabbitMQ; nothing is lost. Reload to try again."
                ),
            ),
            Self::Broker(class) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "RabbitMQ does not answer",
                format!(
                    "{class}. Nothing was changed, or the letter is dead again within 30 seconds. Reload to try again."
                ),
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The console is busy",
                "This took too long, or too many pages are being read at the same time. Reload to try again."
                    .to_owned(),
            ),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.parts().0.into_response();
        // The page about it is made where the user is known.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        tracing::warn!(%error, "the console cannot use the database");
        Self::Database(error.class())
    }
}

impl From<broker::Error> for Fault {
    fn from(error: broker::Error) -> Self {
        tracing::warn!(%error, "the console cannot use RabbitMQ");
        Self::Broker(error.class())
    }
}

impl From<EditError> for Fault {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Database(error) => error.into(),
            EditError::Broker(error) => error.into(),
        }
    }
}
