//! The answer to a request for which one has to log in first. What was typed into a form is not lost: the answer holds it.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tokio::time::timeout;

use super::Console;
use super::fields::{Fields, query};
use super::layout::{Page, Section};
use super::redirect::see_other;
use super::rights::Route;

/// Maximum size of a form whose text is kept, in bytes: an edited body.
const MAX_FORM_BYTES: usize = 1024 * 1024;
/// How long it may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);
/// Maximum number of such forms in memory: clients who are not known send them.
pub(super) const MAX_KEPT: usize = 4;

/// The login, for a page; a page that leads there, for a form.
pub(super) async fn answer(console: &Console, request: Request, route: Route) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let wanted = request.uri().path_and_query().map(|path| path.as_str().to_owned()).filter(|path| path != "/");
        return see_other(&login(console, wanted));
    }
    let path = request.uri().path().to_owned();
    let content = match (path.rsplit_once("/edit/"), kept(console, request, route).await) {
        (Some((letter, _)), Some(form)) => text_kept(console, letter, &Fields::of_form(&form)),
        _ => nothing_done(console),
    };
    let page = Page::new("Your session has ended", Section::None, content);
    Page { status: StatusCode::FORBIDDEN, ..page }.into_response()
}

/// The address of the login, which leads to `next`.
fn login(console: &Console, next: Option<String>) -> String {
    let query = query([("next", next)]);
    let separator = if query.is_empty() { "" } else { "?" };
    format!("{}/login{separator}{query}", console.prefix)
}

/// The form, if it holds a text that took long to write.
async fn kept(console: &Console, request: Request, route: Route) -> Option<Bytes> {
    if !route.holds_text() {
        return None;
    }
    let _permit = console.kept.try_acquire().ok()?;
    timeout(DEADLINE, to_bytes(request.into_body(), MAX_FORM_BYTES)).await.ok()?.ok()
}

fn nothing_done(console: &Console) -> Markup {
    html! {
        section.panel.fault aria-labelledby="fault" {
            p.eyebrow { "403" }
            h1 id="fault" { "Your session has ended" }
            p { "You are not logged in, or no longer. Nothing was done." }
            p { a.button.primary href=(login(console, None)) { "Log in" } }
        }
    }
}

/// The text in the form that it came from, to go on with after a login elsewhere.
fn text_kept(console: &Console, letter: &str, form: &Fields) -> Markup {
    html! {
        h1 { "Your session has ended" }
        section.panel aria-label="Body" {
            form.stack method="post" action={ (console.prefix) (letter) "/edit/preview" } autocomplete="off" {
                p.notice.busy role="alert" {
                    "Nothing was sent, and your text is still here. "
                    a href=(login(console, Some(letter.to_owned()))) target="_blank" rel="noopener" { "Log in in a new tab" }
                    ", under the same name, then go on here."
                }
                input type="hidden" name="opened" value=(form.raw("opened").unwrap_or_default());
                label for="body" { "Body of the new message" }
                textarea #body name="body" rows="24" spellcheck="false" required {
                    // A line break right after the tag is not a part of the value.
                    "\n" (form.raw("body").unwrap_or_default())
                }
                div.actions { button.primary type="submit" { "Show the difference and a dry run" } }
            }
        }
    }
}
