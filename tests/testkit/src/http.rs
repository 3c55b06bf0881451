//! Posts webhooks as Lean does, and reads the answers.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;
use uuid::Uuid;

use crate::{SECRET, fixtures};

/// Deadline of a request. Generous, because it bounds only how long a failing test takes.
const DEADLINE: Duration = Duration::from_secs(180);

/// A new HTTP client. reqwest is built without a TLS provider, so ring is installed first.
#[must_use]
pub fn client() -> reqwest::Client {
    client_builder().build().expect("a client")
}

/// What [`client`] is built from.
pub fn client_builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(DEADLINE)
}

/// Posts a webhook, signed with [`SECRET`], over a new connection.
pub async fn post(url: &str, webhook: &Value) -> Answer {
    let body = webhook.to_string();
    let request = client().post(url).header("lean-signature", fixtures::signature(SECRET, body.as_bytes()));
    Answer::read(request.body(body).send().await.expect("an answer")).await
}

/// An answer of the ingress.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null if it is not JSON.
    pub body: Value,
}

impl Answer {
    /// Reads a whole response.
    pub async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("a body");
        Self { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }

    /// Asserts 200, and returns the message id.
    #[track_caller]
    pub fn assert_accepted(&self) -> Uuid {
        assert_eq!(self.status, 200, "{self:?}");
        let id = Uuid::parse_str(self.body["message_id"].as_str().unwrap_or_default()).expect("a message id");
        assert_eq!(id.get_version_num(), 7);
        id
    }

    /// Asserts that status with a problem+json body.
    #[track_caller]
    pub fn assert_refused(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
    }
}
