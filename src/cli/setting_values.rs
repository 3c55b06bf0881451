//! Parsers of settings: each gives the value, or `None` if the text is invalid.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::api::MIN_TOKEN_LENGTH;
use crate::console::{Account, parse_accounts};
use crate::domain::listed::Source;

/// How people log in to the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    Loopback,
    Tokens,
    Proxy,
}

pub(super) fn namespace(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    ((1..=100).contains(&text.len()) && text.chars().all(allowed)).then(|| text.to_owned())
}

/// The characters are those of a bearer token: RFC 6750, section 2.1.
pub(super) fn tokens(text: &str) -> Option<Vec<String>> {
    let tokens: Vec<String> = text.split(',').map(|token| token.trim().to_owned()).collect();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let is_token = |token: &String| token.len() >= MIN_TOKEN_LENGTH && token.chars().all(allowed);
    tokens.iter().all(is_token).then_some(tokens)
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| text.to_owned())
}

/// Addresses with ports; an empty text is an empty list.
pub(super) fn addresses(text: &str) -> Option<Vec<String>> {
    text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()).map(address).collect()
}

pub(super) fn auth(text: &str) -> Option<Auth> {
    match text {
        "loopback" => Some(Auth::Loopback),
        "tokens" => Some(Auth::Tokens),
        "proxy" => Some(Auth::Proxy),
        _ => None,
    }
}

pub(super) fn accounts(text: &str) -> Option<Option<Vec<Account>>> {
    if text.is_empty() { Some(None) } else { parse_accounts(text).map(Some) }
}

pub(super) fn duration(text: &str, min: Duration, max: Duration) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| (min..=max).contains(duration))
}

pub(super) fn client_id(text: &str) -> Option<String> {
    let is_clean = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_clean.then(|| text.to_owned())
}

pub(super) fn source(text: &str) -> Option<Source> {
    match text {
        "events" => Some(Source::Events),
        "entities" => Some(Source::Entities),
        _ => None,
    }
}

pub(super) fn endpoint(text: &str) -> Option<Option<String>> {
    match text {
        "" => Some(None),
        url if url.starts_with("http://") || url.starts_with("https://") => Some(Some(url.to_owned())),
        _ => None,
    }
}

/// CloudEvents 1.0, section 3.1: `source` is a non-empty URI reference (RFC 3986).
pub(super) fn uri_reference(text: &str) -> Option<String> {
    (!text.is_empty() && fluent_uri::UriRef::parse(text).is_ok()).then(|| text.to_owned())
}

pub(super) fn within<N: FromStr + PartialOrd>(text: &str, range: RangeInclusive<N>) -> Option<N> {
    text.parse().ok().filter(|number| range.contains(number))
}
