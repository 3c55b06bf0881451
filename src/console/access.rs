//! Every request passes here first: where it comes from, who makes it, and whether they may; and every response last, for its headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HOST, HeaderName, HeaderValue, LOCATION, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::fault::Fault;
use super::fields::query;
use super::layout::{self, Page};
use super::rights::{Right, Role, Route};
use super::sessions::Use;
use super::settings::{Login, is_name};
use super::visit::Visit;
use super::{Console, cookie};
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
            (within_deadline(&console, request, next, MAX_FORM_BYTES).await, Some(visit))
        }
        Admission::Public => (within_deadline(&console, request, next, MAX_LOGIN_BYTES).await, None),
        Admission::LoginFirst => (to_login(&console, &request), None),
        Admission::Refused(fault) => (fault.into_response(), None),
    };
    finished(response, visit.as_ref(), &console)
}

/// Runs the request once its form has arrived, so that a slow client keeps no one from the database.
async fn within_deadline(console: &Console, request: Request, next: Next, max_form_bytes: usize) -> Response {
    let answer = async {
        let (parts, body) = request.into_parts();
        let Ok(form) = to_bytes(body, max_form_bytes).await else { return Fault::TooLarge.into_response() };
        // So many requests at most use the database at the same time.
        let _permit = console.requests.acquire().await;
        next.run(Request::from_parts(parts, form.into())).await
    };
    timeout(DEADLINE, answer).await.unwrap_or_else(|_| Fault::Busy.into_response())
}

fn admit(console: &Console, request: &Request, route: Route) -> Admission {
    let headers = request.headers();
    let needed = route.right;
    if !is_own_host(console, headers) {
        return Admission::Refused(Fault::Forbidden(
            "The address in your browser is not one of this machine: use localhost or 127.0.0.1.".to_owned(),
        ));
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
    let visit = |user: String, role, has_session| Visit {
        user,
        role,
        has_session,
        changes: console.settings.changes,
        prefix: Arc::clone(&console.prefix),
    };
    match &console.settings.login {
        Login::Loopback { user } => Ok(Some(visit(user.clone(), Role::Admin, false))),
        Login::Tokens(_) => {
            let usage = if route.is_passive() { Use::Passive } else { Use::Active };
            let session = cookie::session(headers).and_then(|id| console.sessions.find(id, usage));
            Ok(session.map(|(user, role)| visit(user, role, true)))
        }
        Login::Proxy { roles } => {
            if !client.is_some_and(|client| contains(&console.settings.proxies, client.ip())) {
                return Err(Fault::Forbidden("Requests are taken from the proxy only.".to_owned()));
            }
            let mut users = headers.get_all(FORWARDED_USER).iter();
            let user = match (users.next().and_then(|user| user.to_str().ok()), users.next()) {
                (Some(user), None) if is_name(user) => user,
                _ => return Err(Fault::Forbidden("The proxy has named no user.".to_owned())),
            };
            let role = role_of_groups(headers, roles)
                .ok_or_else(|| Fault::Forbidden(format!("{user} is in no group that may use this console.")))?;
            Ok(Some(visit(user.to_owned(), role, false)))
        }
    }
}

/// The role that has the rights of all groups.
fn role_of_groups(headers: &HeaderMap, roles: &[(String, Role)]) -> Option<Role> {
    let lines = headers.get_all(FORWARDED_GROUPS).iter().filter_map(|line| line.to_str().ok());
    let groups: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let granted = roles.iter().filter(|(group, _)| groups.contains(&group.as_str())).map(|(_, role)| *role);
    granted.reduce(|one, other| match (one, other) {
        // An admin has the rights of both, and no others.
        (Role::Operator, Role::Auditor) | (Role::Auditor, Role::Operator) => Role::Admin,
        (one, other) => one.max(other),
    })
}

/// Whether the request is for a name of this machine. Without a login, any page could otherwise point a name of its own to this
/// address, and act as the user (DNS rebinding).
fn is_own_host(console: &Console, headers: &HeaderMap) -> bool {
    if !matches!(console.settings.login, Login::Loopback { .. }) {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
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

fn to_login(console: &Console, request: &Request) -> Response {
    if !is_safe(request.method()) {
        return Fault::Forbidden("You are not logged in, or your session has ended. Log in and try again.".to_owned())
            .into_response();
    }
    let wanted = request.uri().path_and_query().map(|path| path.as_str().to_owned()).filter(|path| path != "/");
    let query = query([("next", wanted)]);
    let separator = if query.is_empty() { "" } else { "?" };
    see_other(&format!("{}/login{separator}{query}", console.prefix))
}

/// 303 to an address of the console.
pub(super) fn see_other(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
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
