//! A visitor of the console, as a browser without script would be.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;

use super::pages::Request;

/// Deadline of one page: the console itself answers within 20 s.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct Visitor {
    http: Client,
    url: String,
}

impl Visitor {
    /// A visitor of the console at that address.
    pub(super) fn new(address: &str) -> Result<Self> {
        // reqwest is built without a TLS provider and uses the process's default. It fails only if one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().redirect(Policy::none()).timeout(DEADLINE).build()?;
        Ok(Self { http, url: format!("http://{address}") })
    }

    /// Asks for a page. Returns how long it took until all of it was there, and the page.
    pub(super) async fn ask(&self, request: &Request) -> Result<(Duration, String)> {
        let url = format!("{}{}", self.url, request.path);
        let start = Instant::now();
        let sent = match &request.form {
            None => self.http.get(url),
            Some(form) => {
                self.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone())
            }
        };
        let answer = sent.send().await?;
        let status = answer.status();
        let page = answer.text().await?;
        ensure!(status.is_success() || status.is_redirection(), "{} was answered {status}: {page}", request.path);
        Ok((start.elapsed(), page))
    }

    /// The page at `path`.
    pub(super) async fn get(&self, path: &str) -> Result<String> {
        Ok(self.ask(&Request::get("", path)).await?.1)
    }
}

/// What follows `before` in a page, up to a quotation mark.
pub(super) fn value<'a>(page: &'a str, before: &str) -> Result<&'a str> {
    let (_, rest) = page.split_once(before).with_context(|| format!("the page has no {before}"))?;
    rest.split('"').next().with_context(|| format!("nothing follows {before}"))
}
