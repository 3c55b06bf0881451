//! One request: its answer, how its failure is classified, and the delay before it is repeated.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderName, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use tracing::warn;

use super::error::{self, Error, Failure};
use crate::reconnect::Retries;

/// A longer `Retry-After` is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Maximum size of an answer: more than 100 webhooks of the default maximum size.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Waits before a request is repeated, or fails if it must not be.
pub(super) async fn wait(failure: Failure, retries: &mut Retries) -> Result<(), Error> {
    let (cause, minimum) = match failure {
        Failure::Temporary(cause, minimum) => (cause, minimum),
        Failure::Status(status) => return Err(Error::Refused(status.as_u16())),
        Failure::TooLarge => return Err(Error::TooLarge),
    };
    let Some(delay) = retries.next_delay(minimum) else { return Err(Error::Unavailable(cause)) };
    warn!(cause, "Lean is unavailable; retrying in {delay:?}");
    tokio::time::sleep(delay).await;
    Ok(())
}

/// The answer to a request.
pub(super) struct Answer {
    pub(super) body: Bytes,
    /// When it was given, by the server's clock: its header `Date`, in whole seconds.
    pub(super) date: Option<DateTime<Utc>>,
}

/// Sends a request and reads the whole answer.
pub(super) async fn answer(request: RequestBuilder) -> Result<Answer, Failure> {
    let temporary = |error| Failure::Temporary(error::description(error), Duration::ZERO);
    let mut response = request.header("accept", "application/json").send().await.map_err(temporary)?;
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error() {
        return Err(Failure::Temporary(format!("Lean answers {status}"), retry_after(&response)));
    }
    if status != StatusCode::OK {
        return Err(Failure::Status(status));
    }
    let date = text(&response, DATE).and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let date = date.map(|date| date.to_utc());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(temporary)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { body: body.freeze(), date })
}

fn text(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// `Retry-After` in seconds or as a date, at most [`MAX_RETRY_AFTER`]; 0 without one.
fn retry_after(response: &Response) -> Duration {
    let text = text(response, RETRY_AFTER).unwrap_or_default();
    let until = || Some((DateTime::parse_from_rfc2822(text).ok()?.to_utc() - Utc::now()).to_std().unwrap_or_default());
    let delay = text.parse().ok().map(Duration::from_secs).or_else(until);
    delay.unwrap_or_default().min(MAX_RETRY_AFTER)
}
