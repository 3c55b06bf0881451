//! The client of Lean's API: the only home of its URLs (docs/CONTRACT.md#10-reconciling-with-lean).
//!
//! Each request has a deadline and each answer a maximum size. 429, 5xx and network errors are waited for with growing delays, within
//! a [`RetryLimit`]. One access token serves all requests until it runs out. No redirect is followed, so that no other server gets
//! the token; and no token, secret or body is in an error or in the log.

mod error;
mod http;
mod page;
mod secret;
mod token;
mod urls;

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{StatusCode, redirect};
use tokio::sync::Mutex;
use url::Url;

pub use error::Error;
use error::Failure;
use http::{Answer, answer, wait};
pub use page::Page;
pub use secret::Secret;
use token::Token;
pub use urls::base_url;

use crate::domain::listed::Source;
use crate::failpoints;
use crate::reconnect::{Retries, RetryLimit};

/// Deadline of a connection, and of a whole request with its answer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// Maximum delay between two attempts at one request, before jitter.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(20);
/// How long a command repeats a request.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

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

impl Client {
    /// A client that repeats each request within `limit`.
    ///
    /// # Errors
    /// [`Error::Setup`] when TLS cannot be set up.
    pub fn new(settings: Settings, limit: RetryLimit) -> Result<Self, Error> {
        // reqwest is built without a TLS provider and uses the process's default. It fails only if one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder();
        // `http` is allowed on loopback addresses only, and a proxy would get the secret in clear.
        if [&settings.api, &settings.auth].iter().any(|url| url.scheme() == "http") {
            http = http.no_proxy();
        }
        let http = http
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
    /// # Errors
    /// Any [`Error`].
    pub async fn page(&self, query: &Query, number: u64, size: u64) -> Result<Page, Error> {
        Page::parse(&self.get(urls::page(&self.settings.api, query, number, size)).await?)
    }

    async fn get(&self, url: Url) -> Result<Answer, Error> {
        let mut retries = self.limit.start(MAX_RETRY_INTERVAL);
        let mut is_renewed = false;
        loop {
            let token = self.token(&mut retries).await?;
            let request = token.authorize(self.http.get(url.clone()));
            match answer(request).await {
                Ok(answer) => return Ok(answer),
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
            let request = self.http.post(urls::token(&self.settings.auth));
            let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
            match answer(request).await {
                Ok(answer) => return Ok(current.insert(Token::parse(&answer.body)?).clone()),
                Err(Failure::Status(status)) => return Err(Error::CredentialsRefused(status.as_u16())),
                Err(failure) => wait(failure, retries).await?,
            }
        }
    }
}
