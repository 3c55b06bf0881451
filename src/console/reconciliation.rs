//! Reconciliation: up to when what Lean lists is accounted for, and what the last runs have found.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::facts::Snapshot;
use super::fault::Fault;
use super::layout::{Page, Section};
use super::parts::{ago, at, badge, empty, number, text};
use super::visit::Visit;
use super::{Console, live};
use crate::store::reconcile_runs::{self, Run};

/// How many runs are listed.
const RUNS: u64 = 50;

/// `GET /reconciliation`.
pub(super) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
) -> Result<Page, Fault> {
    let (runs, snapshot) = tokio::join!(reconcile_runs::latest(&console.store, RUNS), console.facts.snapshot());
    let body = html! {
        h1 { "Reconciliation" }
        (sections(&runs?, &snapshot, &visit))
    };
    Ok(Page::new("Reconciliation", Section::Reconciliation, body).live("/live/reconciliation"))
}

/// `GET /live/reconciliation`.
pub(super) async fn stream(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let of = Arc::clone(&console);
    live::fragments(&console, &visit.clone(), move || {
        let (console, visit) = (Arc::clone(&of), visit.clone());
        async move {
            let (runs, snapshot) = tokio::join!(reconcile_runs::latest(&console.store, RUNS), console.facts.snapshot());
            Ok(sections(&runs?, &snapshot, &visit))
        }
    })
}

fn sections(runs: &[Run], snapshot: &Snapshot, visit: &Visit) -> Markup {
    html! {
        section #complete.panel aria-labelledby="complete-heading" {
            div.head { h2 id="complete-heading" { "Complete until" } }
            @match &snapshot.complete_until {
                Ok(complete) if complete.is_empty() => {
                    p { "No run was complete yet, so nothing is known about webhooks that never arrived." }
                }
                Ok(complete) => dl.facts {
                    @for (source, until) in complete { dt { (source.name()) } dd { strong { (at(*until)) } } }
                },
                Err(class) => p.notice.bad { "The database does not answer: " (class) },
            }
            p.source { "Every webhook that Lean lists up to that instant is in a bank link, dead, ignored, or on the work queue." }
        }
        section #runs.panel aria-labelledby="runs-heading" {
            div.head { h2 id="runs-heading" { "Runs" } }
            @if runs.is_empty() {
                (empty("There was no run yet.", &html! {
                    "Start the role with " code { "banklink run reconciler" } ", or compare once with " code { "banklink reconcile" } "."
                }))
            } @else {
                (table(runs, visit))
            }
        }
    }
}

fn table(runs: &[Run], visit: &Visit) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Started" }
                    th scope="col" { "State" }
                    th scope="col" { "From" }
                    th scope="col" { "To" }
                    th.number scope="col" { "Known" }
                    th.number scope="col" { "Sent in" }
                    th.number scope="col" { "Dead" }
                    th.number scope="col" { "Ignored" }
                }
            }
            tbody {
                @for run in runs {
                    tr {
                        td data-label="Started" { (ago(run.started_at)) " " span.quiet { (text(&run.source)) } }
                        td data-label="State" {
                            div {
                                @match (&run.failure, run.ended_at) {
                                    (Some(failure), _) => { (badge("bad", "failed")) div.example { (text(failure)) } }
                                    (None, None) => (badge("busy", "running")),
                                    (None, Some(_)) => (badge("good", "complete")),
                                }
                            }
                        }
                        td data-label="From" { (instant(run.from)) }
                        td data-label="To" { (instant(run.to)) }
                        td.number data-label="Known" { (number(run.known)) }
                        td.number data-label="Sent in" { @if run.sent > 0 { strong { (number(run.sent)) } } @else { "0" } }
                        td.number data-label="Dead" {
                            @if run.dead > 0 { a href=(visit.path("/letters")) { (number(run.dead)) } } @else { "0" }
                        }
                        td.number data-label="Ignored" { (number(run.ignored)) }
                    }
                }
            }
        }
    }
}

/// A time to the minute: runs span hours and days.
fn instant(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.to_rfc3339()) { (at.format("%Y-%m-%d %H:%M")) } }
}
