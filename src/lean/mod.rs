//! The client of Lean's API: the only home of its URLs (docs/CONTRACT.md#10-reconciling-with-lean).
//!
//! Each request has a deadline and each answer a maximum size. 429, 5xx and network errors are waited for with growing delays, within
//! a [`RetryLimit`]. One access token serves all requests until it runs out. No redirect is followed, so that no other server gets
//! the token; and no token, secret or body is in an error or in the log.

mod error;
mod page;
mod secret;
mod token;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Days, SecondsFormat, Utc};
use reqwest::header::RETRY_AFTER;
use reqwest::{RequestBuilder, Response, StatusCode, redirect};
use tokio::sync::Mutex;
use tracing::warn;
use url::Url;

pub use error::Error;
use error::Failure;
pub use page::Page;
pub use secret::Secret;
use token::Token;

use crate::domain::listed::Source;
use crate::failpoints;
use crate::reconnect::{Retries, RetryLimit};

/// Deadline of a connection, and of a whole request with its answer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// Maximum delay between two attempts at one request, before jitter.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(20);
/// A longer `Retry-After` is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long a command repeats a request.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// Maximum size of an answer: more than 100 webhooks of the default maximum size.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Where Lean's API is, and the application's credentials.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The base URL of the API.
    pub api: Url,
    /// The base URL of the authorization server.
    pub auth: Url,
    /// The application's client id.
    pub client_id: String,
    /// The application's client secret.
    pub client_secret: Secret,
}

/// What to list: what was created after `from` and up to `to`.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Which list.
    pub source: Source,
    /// The beginning, which is not part of it.
    pub from: DateTime<Utc>,
    /// The end, which is.
    pub to: DateTime<Utc>,
}

/// A client with one access token.
pub struct Client {
    http: reqwest::Client,
    settings: Settings,
    /// Locked while a token is fetched, so that one is fetched for all.
    token: Mutex<Option<Token>>,
    limit: RetryLimit,
}

/// The retry limit of a command.
#[must_use]
pub fn command_limit() -> RetryLimit {
    RetryLimit::For(failpoints::shortened_for_tests(COMMAND_LIMIT))
}

/// Reads a base URL. It must be `https`, or `http` on a loopback address, because requests carry secrets; without credentials.
#[must_use]
pub fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_loopback = match url.host()? {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    let is_private = url.scheme() == "https" || (url.scheme() == "http" && is_loopback);
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    (is_private && is_plain).then_some(url)
}

impl Client {
    /// A client that repeats each request within `limit`.
    ///
    /// # Errors
    /// [`Error::Setup`] when TLS cannot be set up.
    pub fn new(settings: Settings, limit: RetryLimit) -> Result<Self, Error> {
        // reqwest is built without a TLS provider and uses the process's default. It fails only if one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(REQUEST_DEADLINE)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("banklink/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Setup(error::description(error)))?;
        Ok(Self { http, settings, token: Mutex::default(), limit })
    }

    /// How long requests are repeated.
    #[must_use]
    pub fn limit(&self) -> RetryLimit {
        self.limit
    }

    /// The page `number`, from 0, of what `query` lists, in pages of `size` entries.
    ///
    /// Lean leaves out what was created exactly at `from` or `to`, and may know times only in whole seconds. So a second more is asked
    /// for at each end; of entities, which Lean selects by whole days, a day more.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn page(&self, query: &Query, number: u64, size: u64) -> Result<Page, Error> {
        let (path, parameters) = match query.source {
            Source::Events => {
                let second = |time: DateTime<Utc>, offset: i64| {
                    let time = DateTime::from_timestamp(time.timestamp() + offset, 0).unwrap_or(time);
                    time.to_rfc3339_opts(SecondsFormat::Secs, true)
                };
                let names = ["page", "size", "from", "to"];
                (
                    "events/v1",
                    names.into_iter().zip([
                        number.to_string(),
                        size.to_string(),
                        second(query.from, -1),
                        second(query.to, 1),
                    ]),
                )
            }
            Source::Entities => {
                let day =
                    |day: Option<DateTime<Utc>>, or: DateTime<Utc>| day.unwrap_or(or).format("%Y-%m-%d").to_string();
                let (from, to) = (query.from.checked_sub_days(Days::new(1)), query.to.checked_add_days(Days::new(1)));
                let names = ["page_number", "page_size", "start_date", "end_date"];
                let values = [number.to_string(), size.to_string(), day(from, query.from), day(to, query.to)];
                ("customers/v1/entities", names.into_iter().zip(values))
            }
        };
        let mut url = joined(&self.settings.api, path);
        url.query_pairs_mut().extend_pairs(parameters);
        Page::parse(&self.get(url).await?)
    }

    async fn get(&self, url: Url) -> Result<Bytes, Error> {
        let mut retries = self.limit.start(MAX_RETRY_INTERVAL);
        let mut is_renewed = false;
        loop {
            let token = self.token(&mut retries).await?;
            let request = token.authorize(self.http.get(url.clone()));
            match answer(request).await {
                Ok(body) => return Ok(body),
                Err(Failure::Status(StatusCode::UNAUTHORIZED)) if !is_renewed => {
                    is_renewed = true;
                    let mut current = self.token.lock().await;
                    current.take_if(|current| current.is_same(&token));
                }
                Err(Failure::Status(StatusCode::UNAUTHORIZED)) => return Err(Error::Unauthorized),
                Err(failure) => wait(failure, &mut retries).await?,
            }
        }
    }

    /// The current access token, or a new one if it has run out.
    async fn token(&self, retries: &mut Retries) -> Result<Token, Error> {
        let mut current = self.token.lock().await;
        if let Some(token) = current.as_ref().filter(|token| token.is_valid()) {
            return Ok(token.clone());
        }
        loop {
            let form = token::form(&self.settings.client_id, &self.settings.client_secret);
            let request = self.http.post(joined(&self.settings.auth, "oauth2/token"));
            let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
            match answer(request).await {
                Ok(body) => return Ok(current.insert(Token::parse(&body)?).clone()),
                Err(Failure::Status(status)) => return Err(Error::CredentialsRefused(status.as_u16())),
                Err(failure) => wait(failure, retries).await?,
            }
        }
    }
}

/// Waits before a request is repeated, or fails if it must not be.
async fn wait(failure: Failure, retries: &mut Retries) -> Result<(), Error> {
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

/// Sends a request and reads the whole answer.
async fn answer(request: RequestBuilder) -> Result<Bytes, Failure> {
    let temporary = |error| Failure::Temporary(error::description(error), Duration::ZERO);
    let mut response = request.header("accept", "application/json").send().await.map_err(temporary)?;
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error() {
        return Err(Failure::Temporary(format!("Lean answers {status}"), retry_after(&response)));
    }
    if status != StatusCode::OK {
        return Err(Failure::Status(status));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(temporary)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// `Retry-After` in seconds or as a date, at most [`MAX_RETRY_AFTER`]; 0 without one.
fn retry_after(response: &Response) -> Duration {
    let text = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let until = || Some((DateTime::parse_from_rfc2822(text).ok()?.to_utc() - Utc::now()).to_std().unwrap_or_default());
    let delay = text.parse().ok().map(Duration::from_secs).or_else(until);
    delay.unwrap_or_default().min(MAX_RETRY_AFTER)
}

fn joined(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}/{path}"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_sent_in_clear_only_over_loopback() {
        for accepted in [
            "https://api.leantech.me",
            "https://h/prefix/",
            "http://127.0.0.1:9470",
            "http://[::1]:1",
            "http://localhost:1",
        ] {
            assert!(base_url(accepted).is_some(), "{accepted}");
        }
        for refused in [
            "http://api.leantech.me",
            "http://10.0.0.1",
            "ftp://localhost",
            "https://u:p@h",
            "https://h/?a=b",
            "lean",
            "",
        ] {
            assert!(base_url(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn a_path_is_appended_to_that_of_the_base() {
        for (base, expected) in [
            ("https://h", "https://h/events/v1"),
            ("https://h/", "https://h/events/v1"),
            ("https://h/lean/", "https://h/lean/events/v1"),
        ] {
            assert_eq!(joined(&Url::parse(base).unwrap(), "events/v1").as_str(), expected);
        }
    }
}
