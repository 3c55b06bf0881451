//! The errors of this module. None contains a token, a secret, a URL or the text of an answer.

use std::time::Duration;

use reqwest::StatusCode;

/// Why Lean's API gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The client could not be created.
    #[error("cannot create an HTTP client: {0}")]
    Setup(String),
    /// The authorization server refused the client id or the secret, with this status.
    #[error("Lean refused LEAN_CLIENT_ID and LEAN_CLIENT_SECRET ({0})")]
    CredentialsRefused(u16),
    /// The API answered 401 to a token that was issued just before.
    #[error(
        "Lean's API refused a new access token (401): LEAN_AUTH_URL and LEAN_API_URL may belong to different environments"
    )]
    Unauthorized,
    /// The API answered with a status that a repetition does not change.
    #[error("Lean's API answered {0}")]
    Refused(u16),
    /// 429, 5xx or no answer until the [`RetryLimit`](crate::reconnect::RetryLimit).
    #[error("Lean's API is unavailable: {0}")]
    Unavailable(String),
    /// An answer with status 200 has not the documented form: which part of it.
    #[error("Lean's answer cannot be read: {0}")]
    Unreadable(&'static str),
    /// An answer is larger than any page of webhooks.
    #[error("Lean's answer is larger than 32 MiB")]
    TooLarge,
}

/// Why one request failed.
pub(super) enum Failure {
    /// It may succeed later: the cause, and the least time to wait.
    Temporary(String, Duration),
    /// The answer has another status than 200.
    Status(StatusCode),
    /// The answer is too large.
    TooLarge,
}

/// The error with its causes, without the URL.
pub(super) fn description(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::anyhow!(error.without_url()))
}
