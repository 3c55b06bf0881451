//! The cookie of a session.

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HeaderValue};

/// Sent over plain HTTP, which is for loopback addresses and private networks.
const NAME: &str = "banklink-console";
/// Sent over TLS only, and set by this host only: browsers check what the prefix says.
const HOST_NAME: &str = "__Host-banklink-console";
/// The same below a path prefix.
const SECURE_NAME: &str = "__Secure-banklink-console";

/// How the cookie is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Over TLS only.
    Encrypted,
    /// Over plain HTTP as well.
    Plain,
}

/// The name that [`set`] gives the cookie.
fn name(prefix: &str, transport: Transport) -> &'static str {
    match (transport, prefix) {
        (Transport::Plain, _) => NAME,
        (Transport::Encrypted, "") => HOST_NAME,
        (Transport::Encrypted, _) => SECURE_NAME,
    }
}

/// The ids of sessions in the cookies of a request, in their order. There may be several: other hosts of the same domain can set
/// cookies for this one. A name that this transport does not set counts for nothing, because anyone on the network can set it.
pub(super) fn sessions<'a>(
    headers: &'a HeaderMap,
    prefix: &str,
    transport: Transport,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let expected = name(prefix, transport);
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.filter(move |(name, _)| *name == expected).map(|(_, value)| value)
}

/// The header that sets the cookie, or that removes it if `id` is empty.
pub(super) fn set(id: &str, prefix: &str, transport: Transport) -> HeaderValue {
    let name = name(prefix, transport);
    let secure = if transport == Transport::Encrypted { "; Secure" } else { "" };
    let path = if prefix.is_empty() { "/" } else { prefix };
    let age = if id.is_empty() { "; Max-Age=0" } else { "" };
    let cookie = format!("{name}={id}; Path={path}; HttpOnly; SameSite=Strict{secure}{age}");
    // An id is hexadecimal, and a prefix holds letters, digits and a few signs.
    HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""))
}
