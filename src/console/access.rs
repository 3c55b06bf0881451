//! Every request passes here first: where it comes from, who makes it, and whether they may; and every response last, for its headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::cookie::Transport;
use super::fault::Fault;
use super::layout::{self, Page};
use super::rights::{Right, Role, Route};
use super::sessions::Use;
use super::settings::{Login, is_name};
use super::visit::Visit;
use super::{Console, cookie, logged_out, loopback};
use crate::server::forwarded::contains;

/// How long a request may take, the arrival of its body included.
const DEADLINE: Duration = Duration::from_secs(20);
/// Maximum size of a form, in bytes. It holds an edited body, of which each byte may take three.
const MAX_FORM_BYTES: usize = 1024 * 1024;
/// Maximum size of a form of a client who is not known, in bytes.
const MAX_LOGIN_BYTES: usize = 16 * 1024;
const FORWARDED_USER: &str = "x-forwarded-user";
const FORWARDED_GROUPS: &str = "x-forwarded-groups";
/// What pages may load: nothing but the console's own styles, script and live parts.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 6] = [
    (HeaderName::from_static("content-security-policy"), CONTENT_SECURITY_POLICY),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("referrer-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The route that the guard stands in front of.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) console: Arc<Console>,
    pub(super) route: Route,
}

/// Whether a request goes on.
enum Admission {
    /// To its page.
    Granted(Visit),
    /// To a page for which no one need be known.
    Public,
    /// To the login first.
    LoginFirst,
    Refused(Fault),
}

/// Admits requests, runs them within a deadline, and finishes the responses.
pub(super) async fn guard(State(guarded): State<Guarded>, mut request: Request, next: Next) -> Response {
    let Guarded { console, route } = guarded;
    let (response, visit) = match admit(&console, &request, route) {
        Admission::Granted(visit) => {
            request.extensions_mut().insert(visit.clone());
            // Who looks keeps no one from pausing a replay.
            let permits = if is_safe(request.method()) { &console.requests } else { &console.changes };
            (within_deadline(request, next, MAX_FORM_BYTES, Some(permits)).await, Some(visit))
        }
        // The login and the assets do not use the database.
        Admission::Public => (within_deadline(request, next, MAX_LOGIN_BYTES, None).await, None),
        Admission::LoginFirst => (logged_out::answer(&console, request, route).await, None),
        Admission::Refused(fault) => (fault.into_response(), None),
    };
    finished(response, visit.as_ref(), &console)
}

/// Runs the request once its form has arrived, so that a slow client keeps no one from the database.
async fn within_deadline(request: Request, next: Next, max_form_bytes: usize, permits: Option<&Semaphore>) -> Response {
    let answer = async {
        let (parts, body) = request.into_parts();
        let Ok(form) = to_bytes(body, max_form_bytes).await else { return Fault::TooLarge.into_response() };
        // So many requests at most use the database at the same time.
        let _permit = match permits {
            Some(permits) => Some(permits.acquire().await),
            None => None,
        };
        next.run(Request::from_parts(parts, form.into())).await
    };
    timeout(DEADLINE, answer).await.unwrap_or_else(|_| Fault::Busy.into_response())
}

fn admit(console: &Console, request: &Request, route: Route) -> Admission {
    let headers = request.headers();
    let needed = route.right;
    if let Login::Loopback { .. } = console.settings.login
        && let Some(why) = loopback::refusal(headers)
    {
        return Admission::Refused(Fault::Forbidden(why.to_owned()));
    }
    if !is_safe(request.method()) && !is_same_origin(headers) {
        return Admission::Refused(Fault::Forbidden(
            "The request came from a page of another origin, or the proxy in front changes the Host header.".to_owned(),
        ));
    }
    if needed == Right::Public {
        return Admission::Public;
    }
    let visit = match identify(console, request, route) {
        Ok(Some(visit)) => visit,
        Ok(None) => return Admission::LoginFirst,
        Err(fault) => return Admission::Refused(fault),
    };
    if !visit.role.has(needed) {
        tracing::warn!(console.user = visit.user, role = visit.role.as_str(), "refused: the role lacks the right");
        let why = format!("Your role is {}, which may not {}.", visit.role.as_str(), needed.deed());
        return Admission::Refused(Fault::Forbidden(why));
    }
    if !visit.may(needed) {
        return Admission::Refused(Fault::Forbidden("This console is read-only.".to_owned()));
    }
    Admission::Granted(visit)
}

/// Who makes the request; `None` if they have to log in first.
fn identify(console: &Console, request: &Request, route: Route) -> Result<Option<Visit>, Fault> {
    let (headers, client) = (request.headers(), client(request));
    let visit = |user: String, role, session| Visit {
        user,
        role,
        session,
        changes: console.settings.changes,
        prefix: Arc::clone(&console.prefix),
    };
    match &console.settings.login {
        Login::Loopback { user } => Ok(Some(visit(user.clone(), Role::Admin, None))),
        Login::Tokens(_) => {
            let usage = if route.is_passive() { Use::Passive } else { Use::Active };
            let mut ids = cookie::sessions(headers, &console.prefix, transport(console, request));
            let found = ids.find_map(|id| console.sessions.find(id, usage));
            Ok(found.map(|(session, user, role)| visit(user, role, Some(session))))
        }
        Login::Proxy { roles } => {
            if !client.is_some_and(|client| contains(&console.settings.proxies, client.ip())) {
                return Err(Fault::Forbidden("Requests are taken from the proxy only.".to_owned()));
            }
            let user = only(headers, FORWARDED_USER).filter(|user| is_name(user));
            let user = user.ok_or_else(|| Fault::Forbidden("The proxy has named no user, or several.".to_owned()))?;
            let role = only(headers, FORWARDED_GROUPS).and_then(|groups| role_of_groups(groups, roles));
            let role = role.ok_or_else(|| {
                Fault::Forbidden(format!(
                    "{user} is in no group that may use this console, or the proxy named groups twice."
                ))
            })?;
            Ok(Some(visit(user.to_owned(), role, None)))
        }
    }
}

/// The value of a header that occurs once. A second one may be the client's own, which the proxy has passed on.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// The role that has the rights of all groups.
fn role_of_groups(groups: &str, roles: &[(String, Role)]) -> Option<Role> {
    let groups: Vec<&str> = groups.split(',').map(str::trim).collect();
    let granted = roles.iter().filter(|(group, _)| groups.contains(&group.as_str())).map(|(_, role)| *role);
    granted.reduce(|one, other| match (one, other) {
        // An admin has the rights of both, and no others.
        (Role::Operator, Role::Auditor) | (Role::Auditor, Role::Operator) => Role::Admin,
        (one, other) => one.max(other),
    })
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a change was asked for by a page of this origin, or by no page. Browsers send `sec-fetch-site` to addresses that are
/// encrypted or local, and `origin` to all.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// The address that the connection comes from.
pub(super) fn client(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<SocketAddr>().copied()
}

/// Whether the request came over TLS, as far as a trusted proxy says.
pub(super) fn transport(console: &Console, request: &Request) -> Transport {
    let is_trusted = client(request).is_some_and(|client| contains(&console.settings.proxies, client.ip()));
    let is_encrypted = request.headers().get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    if is_trusted && is_encrypted { Transport::Encrypted } else { Transport::Plain }
}

/// The response with its page, if it has one, and the headers that all have.
fn finished(mut response: Response, visit: Option<&Visit>, console: &Console) -> Response {
    let page = response.extensions_mut().remove::<Page>();
    let fault = response.extensions_mut().remove::<Fault>();
    if let Some(page) = page.or_else(|| fault.as_ref().map(Page::about)) {
        let document = layout::document(&page, visit, console);
        let mut written = (page.status, document).into_response();
        written.headers_mut().extend(std::mem::take(response.headers_mut()));
        response = written;
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Only the assets say something else.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
