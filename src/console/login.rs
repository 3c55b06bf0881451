//! Logging in with a token, and out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tracing::{info, warn};

use super::Console;
use super::access::{client, transport};
use super::cookie;
use super::fault::Fault;
use super::fields::Fields;
use super::layout::{Page, Section};
use super::redirect::see_other;
use super::settings::{Account, Login, digest};
use crate::server::forwarded::sender;

/// `GET /login`.
pub(super) async fn form(State(console): State<Arc<Console>>, request: Request) -> Result<Response, Fault> {
    accounts(&console)?;
    let next = Fields::of_query(request.uri()).get("next").map(str::to_owned);
    Ok(page(&console, StatusCode::OK, next.as_deref(), None).into_response())
}

/// `POST /login`: begins a session if the token is one of an account.
pub(super) async fn log_in(State(console): State<Arc<Console>>, request: Request) -> Result<Response, Fault> {
    let accounts = accounts(&console)?;
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, Body::empty());
    let address = address(&console, &request);
    // The guard has read and bounded it.
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Fault::TooLarge)?;
    let form = Fields::of_form(&body);
    let next = form.get("next");
    let token = digest(form.get("token").unwrap_or_default());
    let account = accounts.iter().find(|account| account.token == token);
    // Guesses from everywhere lock no one out who has a token.
    let wait = console.attempts.wait(address).or_else(|| console.attempts.wait_of_all().filter(|_| account.is_none()));
    if let Some(wait) = wait {
        warn!(client.address = %address, "a login was refused: too many have failed");
        let minutes = wait.as_secs().div_ceil(60);
        let text = format!("Too many failed logins. Try again in {minutes} minutes.");
        let mut response = page(&console, StatusCode::TOO_MANY_REQUESTS, next, Some(&text)).into_response();
        response.headers_mut().insert(RETRY_AFTER, wait.as_secs().max(1).into());
        return Ok(response);
    }
    let Some(account) = account else {
        console.attempts.count(address);
        warn!(client.address = %address, "a login failed");
        return Ok(page(&console, StatusCode::UNAUTHORIZED, next, Some("This token is not known.")).into_response());
    };
    info!(console.user = account.name, role = account.role.as_str(), client.address = %address, "logged in");
    end_sessions(&console, &request);
    let id = console.sessions.begin(&account.name, account.role);
    let mut response = see_other(&format!("{}{}", console.prefix, next.filter(|path| is_own(path)).unwrap_or("/")));
    response.headers_mut().insert(SET_COOKIE, cookie::set(&id, &console.prefix, transport(&console, &request)));
    Ok(response)
}

/// `POST /logout`.
pub(super) async fn log_out(State(console): State<Arc<Console>>, request: Request) -> Response {
    end_sessions(&console, &request);
    let mut response = see_other(&format!("{}/login", console.prefix));
    response.headers_mut().insert(SET_COOKIE, cookie::set("", &console.prefix, transport(&console, &request)));
    response
}

/// Ends the sessions that the browser has.
fn end_sessions(console: &Console, request: &Request) {
    for id in cookie::sessions(request.headers(), &console.prefix, transport(console, request)) {
        console.sessions.end(id);
    }
}

/// The accounts, if people log in here.
fn accounts(console: &Console) -> Result<&[Account], Fault> {
    match &console.settings.login {
        Login::Tokens(accounts) => Ok(accounts),
        _ => Err(Fault::NotFound("There is no login here.")),
    }
}

/// The address that a login comes from, behind trusted proxies or not. What a proxy forwards without a valid address counts as the
/// proxy's own.
fn address(console: &Console, request: &Request) -> IpAddr {
    let client = client(request);
    let sender = client.and_then(|client| sender(client, request.headers(), &console.settings.proxies));
    sender.or(client.map(|client| client.ip())).unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

/// Whether `path` is an address of this console: browsers take `//host` and `/\host` for another one.
fn is_own(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n', '\t'])
}

fn page(console: &Console, status: StatusCode, next: Option<&str>, error: Option<&str>) -> Page {
    Page { status, ..Page::new("Log in", Section::None, form_markup(console, next, error)) }
}

fn form_markup(console: &Console, next: Option<&str>, error: Option<&str>) -> Markup {
    html! {
        section.panel.login aria-labelledby="login" {
            h1 id="login" { "Log in" }
            @if let Some(error) = error {
                p.notice.bad role="alert" id="error" { (error) }
            }
            form method="post" action={ (console.prefix) "/login" } {
                @if let Some(next) = next {
                    input type="hidden" name="next" value=(next);
                }
                // Password managers keep a token under a name.
                input type="text" name="username" value="banklink" autocomplete="username" hidden;
                label for="token" { "Access token" }
                input #token name="token" type="password" required autocomplete="current-password" autofocus
                    aria-describedby=[error.map(|_| "error")];
                button.primary type="submit" { "Log in" }
            }
            p.quiet { "Tokens are given out by who runs this console, in BANKLINK_CONSOLE_TOKENS." }
        }
    }
}
