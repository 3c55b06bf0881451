//! The frame of every page: head, navigation, who is here, and the page itself.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::fault::Fault;
use super::settings::Changes;
use super::visit::Visit;
use super::{Console, assets, live};

/// A part of the console, as the navigation lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Letters,
    Replays,
    Links,
    Reconciliation,
    Audit,
    /// None of them.
    None,
}

/// The navigation.
const NAVIGATION: [(Section, &str, &str); 6] = [
    (Section::Overview, "/", "Overview"),
    (Section::Letters, "/letters", "Dead letters"),
    (Section::Replays, "/replays", "Replays"),
    (Section::Links, "/links", "Bank links"),
    (Section::Reconciliation, "/reconciliation", "Reconciliation"),
    (Section::Audit, "/audit", "Audit"),
];

/// A page without its frame. As a response, it gets its frame where the user is known.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    /// The title of the window.
    pub(super) title: String,
    pub(super) section: Section,
    pub(super) body: Markup,
    /// The address, below the path prefix, of fragments that keep the page up to date.
    pub(super) live: Option<String>,
}

impl Page {
    /// A page that stays as it is.
    pub(super) fn new(title: impl Into<String>, section: Section, body: Markup) -> Self {
        Self { status: StatusCode::OK, title: title.into(), section, body, live: None }
    }

    /// The same page, kept up to date by the fragments at the address `live`.
    pub(super) fn live(self, live: impl Into<String>) -> Self {
        Self { live: Some(live.into()), ..self }
    }

    /// The page about a fault.
    pub(super) fn about(fault: &Fault) -> Self {
        let (status, heading, explanation) = fault.parts();
        let body = html! {
            section.panel.fault aria-labelledby="fault" {
                p.eyebrow { (status.as_u16()) }
                h1 id="fault" { (heading) }
                p { (explanation) }
            }
        };
        Self { status, ..Self::new(heading, Section::None, body) }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The whole document. Without a visit, the user is not known, and there is nothing to navigate to.
pub(super) fn document(page: &Page, visit: Option<&Visit>, console: &Console) -> Html<String> {
    let path = |path: &str| format!("{}{path}", console.prefix);
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (page.title) " · banklink" }
                link rel="icon" href=(path(&assets::icon())) type="image/svg+xml";
                link rel="stylesheet" href=(path(&assets::styles()));
                script src=(path(&assets::script())) defer {}
            }
            body data-live=[page.live.as_deref().map(path)] {
                a.skip href="#main" { "Skip to the page" }
                (header(page.section, visit, &path))
                @if page.live.is_some() { (live::outdated(None)) }
                main #main tabindex="-1" { (page.body) }
                footer.foot {
                    p { "banklink " (env!("CARGO_PKG_VERSION")) " · all times are UTC" }
                    // Filled by the script while a page keeps itself up to date.
                    p #live-state {}
                }
            }
        }
    };
    Html(document.into_string())
}

fn header(current: Section, visit: Option<&Visit>, path: &impl Fn(&str) -> String) -> Markup {
    html! {
        header.top {
            a.brand href=(path("/")) {
                svg.mark viewBox="0 0 32 32" aria-hidden="true" {
                    path d="M6 12h20M6 20h20M11 6v20M21 6v20" {}
                }
                span { "banklink" }
            }
            @if let Some(visit) = visit {
                nav.main aria-label="Main" {
                    ul {
                        @for (section, at, name) in NAVIGATION {
                            li {
                                a href=(path(at)) aria-current=[(section == current).then_some("page")] { (name) }
                            }
                        }
                    }
                }
                div.who {
                    @if visit.changes == Changes::ReadOnly { span.badge.quiet { "read-only" } }
                    span.user { bdi { (visit.user) } " " span.quiet { (visit.role.as_str()) } }
                    @if visit.session.is_some() {
                        form method="post" action=(path("/logout")) { button.plain type="submit" { "Log out" } }
                    }
                }
            }
        }
    }
}
