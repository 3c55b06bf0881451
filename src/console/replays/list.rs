//! The last replays: how far they have come, and who made them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State as Shared;
use axum::response::Response;
use maud::{Markup, html};

use super::progress::{bar, fraction, state_badge};
use crate::console::fault::Fault;
use crate::console::layout::{Page, Section};
use crate::console::parts::{ago, empty, number, text};
use crate::console::visit::Visit;
use crate::console::{Console, live};
use crate::dead_letters::{Collect, ReplayView, list};

/// How many replays are listed.
const REPLAYS: u64 = 20;

/// `GET /replays`.
pub(in crate::console) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
) -> Result<Page, Fault> {
    let replays = list(&console.store, None, REPLAYS, Collect::ForPage).await?;
    let body = html! {
        div.title { h1 { "Replays" } p.quiet { "The last " (REPLAYS) ", made here or on the command line" } }
        (section(&replays, &visit))
    };
    Ok(Page::new("Replays", Section::Replays, body).live("/live/replays"))
}

/// `GET /live/replays`.
pub(in crate::console) async fn stream(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let of = Arc::clone(&console);
    live::fragments(&console, &visit.clone(), move || {
        let (console, visit) = (Arc::clone(&of), visit.clone());
        async move {
            let replays = list(&console.store, None, REPLAYS, Collect::ForPage).await?;
            Ok(section(&replays, &visit))
        }
    })
}

fn section(replays: &[ReplayView], visit: &Visit) -> Markup {
    html! {
        section #replays.panel aria-label="Replays" {
            @if replays.is_empty() {
                (empty("No replay was made yet.", &html! {
                    "Select what to replay among the " a href=(visit.path("/letters")) { "dead letters" }
                    ", by kind, by a filter or by ticks: a dry run comes first."
                }))
            } @else {
                table.cards.replays {
                    thead {
                        tr {
                            th scope="col" { "Replay" } th scope="col" { "State" } th scope="col" { "Progress" }
                            th.number scope="col" { "Dead again" } th scope="col" { "Who and why" } th scope="col" { "Made" }
                        }
                    }
                    tbody { @for view in replays { (row(view, visit)) } }
                }
            }
        }
    }
}

fn row(view: &ReplayView, visit: &Visit) -> Markup {
    let replay = &view.replay;
    html! {
        tr {
            td data-label="Replay" { a.kind href=(visit.path(&format!("/replays/{}", replay.id))) { "Replay " (replay.id) } }
            td data-label="State" { (state_badge(replay)) }
            td data-label="Progress" { div.how-far { (bar(replay)) span { (fraction(replay)) } } }
            td.number data-label="Dead again" { (number(replay.dead)) }
            td data-label="Who and why" {
                div {
                    (text(&replay.created_by))
                    @if let Some(reason) = &replay.reason { div.example { (text(reason)) } }
                }
            }
            td data-label="Made" { (ago(replay.created_at)) }
        }
    }
}
