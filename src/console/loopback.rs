//! What a console without a login answers: requests of this machine's browsers, made for its pages by people.

use axum::http::HeaderMap;
use axum::http::header::HOST;

/// Headers that proxies add, besides those that begin with `x-forwarded-`.
const OF_PROXIES: [&str; 3] = ["forwarded", "via", "x-real-ip"];

/// Why a request is refused, if it is.
pub(super) fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    if !is_own_host(headers) {
        return Some("The address in your browser is not one of this machine: use localhost or 127.0.0.1.");
    }
    let is_of_proxy = |name: &str| OF_PROXIES.contains(&name) || name.starts_with("x-forwarded-");
    if headers.keys().any(|name| is_of_proxy(name.as_str())) {
        // It would be open to all who can reach the proxy.
        return Some(
            "The request came through a proxy, and this console asks for no login. Set BANKLINK_CONSOLE_AUTH to tokens or proxy, and \
             BANKLINK_CONSOLE_TRUSTED_PROXIES to the address of the proxy.",
        );
    }
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    if is("sec-fetch-site", "cross-site") && !is("sec-fetch-mode", "navigate") {
        return Some("The request was made by a page of another site.");
    }
    None
}

/// Whether the request is for a name of this machine. Any page could otherwise point a name of its own to this address, and act as
/// the user (DNS rebinding).
fn is_own_host(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}
