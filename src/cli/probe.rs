//! `banklink check --probe`: asks a running process whether it is ready, for container health checks and scripts.

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::{Client, Response, Url, redirect};
use serde_json::Value;

use super::check_line::Check;
use crate::failpoints;

/// Maximum duration of a probe; below the timeout of the image's health check.
const DEADLINE: Duration = Duration::from_secs(4);
/// A longer answer is not read to its end.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The URL of `target`: a URL, or a path on the admin address `listen`. A process that listens on every address is asked on
/// loopback.
///
/// # Errors
/// A description of valid targets, if it is neither.
pub(super) fn url(target: &str, listen: &str) -> Result<Url, String> {
    let expected = || format!("--probe: expected an http:// URL or a path that begins with /, got {target:?}");
    let text = if target.starts_with('/') {
        let (host, port) = listen.rsplit_once(':').ok_or_else(expected)?;
        let host = match host {
            "0.0.0.0" => "127.0.0.1",
            "[::]" => "[::1]",
            host => host,
        };
        format!("http://{host}:{port}{target}")
    } else {
        target.to_owned()
    };
    Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(expected)
}

/// Asks `url`: passed if it answers 200, else failed with the names of the checks of that process that failed.
pub(super) async fn check(url: &Url) -> Check {
    let remedy = "start the process, or correct TARGET; its log says why a check fails";
    match ask(url).await {
        Ok(answer) => Check::passed("probe", answer),
        Err(cause) => Check::failed("probe", cause, remedy),
    }
}

async fn ask(url: &Url) -> Result<String, String> {
    let asked = async {
        let mut response = client()?.get(url.clone()).send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        Ok::<_, anyhow::Error>((status, failed_checks(&read(&mut response, MAX_ANSWER_BYTES).await)))
    };
    match tokio::time::timeout(failpoints::shortened_for_tests(DEADLINE), asked).await {
        Ok(Ok((status, _))) if status.as_u16() == 200 => Ok(format!("{url} answers 200")),
        Ok(Ok((status, failed))) => Err(format!("{url} answers {}{failed}", status.as_u16())),
        Ok(Err(error)) => Err(format!("{url}: {error:#}")),
        Err(_) => Err(format!("{url}: no answer within {DEADLINE:?}")),
    }
}

/// A client without proxy and redirects: the answer must be that of the process itself.
pub(super) fn client() -> anyhow::Result<Client> {
    // reqwest is built without a TLS provider and uses the process's default. It fails only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy().redirect(redirect::Policy::none());
    builder.build().map_err(|error| anyhow!(error)).context("cannot create an HTTP client")
}

/// The beginning of the body, about `max` bytes; what cannot be read is left out.
pub(super) async fn read(response: &mut Response, max: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < max
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body
}

/// The failed checks of a readiness answer, as `: worker database: ...; ...`; empty if there are none.
fn failed_checks(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let roles = answer["roles"].as_object().into_iter().flatten();
    let checks = roles.flat_map(|(role, state)| {
        let checks = state["checks"].as_object().into_iter().flatten();
        checks.filter_map(move |(check, result)| {
            let result = result.as_str().filter(|result| *result != "ok")?;
            Some(format!("{role} {check}: {result}"))
        })
    });
    let checks: Vec<String> = checks.collect();
    if checks.is_empty() { String::new() } else { format!(": {}", checks.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_asked_of_the_admin_address_and_every_address_means_loopback() {
        for (target, listen, expected) in [
            ("/readyz", "0.0.0.0:9464", "http://127.0.0.1:9464/readyz"),
            ("/readyz/worker", "[::]:9464", "http://[::1]:9464/readyz/worker"),
            ("/livez", "localhost:1", "http://localhost:1/livez"),
            ("https://banklink.example:8443/readyz", "0.0.0.0:9464", "https://banklink.example:8443/readyz"),
        ] {
            assert_eq!(url(target, listen).unwrap().as_str(), expected);
        }
        for wrong in ["readyz", "ftp://host/", "http://"] {
            assert!(url(wrong, "0.0.0.0:9464").unwrap_err().contains("expected an http:// URL"), "{wrong}");
        }
    }

    #[test]
    fn only_failed_checks_are_named() {
        let body = br#"{"roles":{"worker":{"checks":{"broker":"ok","database":"the database does not answer"}}}}"#;
        assert_eq!(failed_checks(body), ": worker database: the database does not answer");
        assert_eq!(failed_checks(b"no JSON"), "");
    }
}
