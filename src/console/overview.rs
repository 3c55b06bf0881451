//! The overview: is it working?

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use maud::{Markup, html};

use super::facts::Snapshot;
use super::fault::Fault;
use super::kinds;
use super::layout::{Page, Section};
use super::parts::{ago, badge, empty, number};
use super::processes::Known;
use super::verdict::{Concern, concerns};
use super::visit::Visit;
use super::{Console, chart, live};
use crate::broker::QueueState;

/// How many kinds of dead letters the overview lists.
const MAX_KINDS: usize = 5;

/// `GET /`.
pub(super) async fn page(State(console): State<Arc<Console>>, Extension(visit): Extension<Visit>) -> Page {
    let body = html! {
        h1 { "Overview" }
        (sections(&console, &visit).await)
    };
    Page::new("Overview", Section::Overview, body).live("/live/overview")
}

/// `GET /live/overview`.
pub(super) async fn stream(
    State(console): State<Arc<Console>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let of = Arc::clone(&console);
    live::fragments(&console, &visit.clone(), move || {
        let (console, visit) = (Arc::clone(&of), visit.clone());
        async move { Ok(sections(&console, &visit).await) }
    })
}

async fn sections(console: &Console, visit: &Visit) -> Markup {
    let (snapshot, known) = (console.facts.snapshot().await, console.processes.known());
    html! {
        (verdict(&concerns(&snapshot, &known, console.facts.connection().topology(), Utc::now()), visit))
        (figures(console, &snapshot, visit))
        (charts(&known))
        div.columns {
            (dead_letters(&snapshot, visit))
            (processes(&known))
        }
    }
}

fn verdict(concerns: &[Concern], visit: &Visit) -> Markup {
    let class = if concerns.iter().any(|concern| concern.is_urgent) { "bad" } else { "busy" };
    html! {
        // Only this is announced: the numbers and ages below change all the time.
        section #verdict-state.sr aria-live="polite" {
            @match (concerns.first(), class) {
                (None, _) => "Everything works.",
                (Some(_), "bad") => "Something is urgent.",
                (Some(_), _) => "There is something to look at.",
            }
        }
        section #verdict aria-label="State" {
            @if concerns.is_empty() {
                p.verdict.good { span.dot {} "Everything works." }
            } @else {
                div class={ "verdict " (class) } {
                    span.dot {}
                    ul {
                        @for concern in concerns {
                            li {
                                (concern.text)
                                @if let Some((path, name)) = concern.link { " " a href=(visit.path(path)) { (name) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figures(console: &Console, snapshot: &Snapshot, visit: &Visit) -> Markup {
    let topology = console.facts.connection().topology();
    let waiting = |is_counted: &dyn Fn(&str) -> bool| {
        let counted = |states: &Vec<QueueState>| {
            let messages = states.iter().filter(|state| is_counted(&state.name)).map(|state| i64::from(state.messages));
            messages.sum::<i64>()
        };
        snapshot.queues.as_ref().map(counted).map_err(|class| *class)
    };
    let (work, dead) = (topology.webhooks(), topology.dead());
    let retries = waiting(&|name| name != work && name != dead);
    html! {
        section #figures aria-label="Figures" {
            dl.figures {
                (figure("Dead letters", &snapshot.dead(), &html! {
                    @match snapshot.oldest_death() {
                        Some(oldest) => { "oldest " (ago(oldest)) " · " a href=(visit.path("/letters")) { "look" } }
                        None => "none to look at",
                    }
                }))
                (figure("Work queue", &waiting(&|name| name == work), &html! { "webhooks that wait for a worker" }))
                (figure("Retries", &retries, &html! { "webhooks that wait for their next attempt" }))
                (figure("Outbox", &snapshot.outbox.map(|outbox| outbox.pending), &html! {
                    @match snapshot.outbox.ok().and_then(|outbox| outbox.oldest) {
                        Some(oldest) => { "oldest event " (ago(oldest)) }
                        None => "every event is published",
                    }
                }))
                div.figure {
                    dt { "Complete until" }
                    dd.value {
                        @match &snapshot.complete_until {
                            Ok(complete) => @match complete.iter().map(|(_, until)| *until).max() {
                                Some(until) => (ago(until)),
                                None => span.quiet { "never reconciled" },
                            },
                            Err(class) => span.unknown title=(class) { "unknown" },
                        }
                    }
                    dd.note { "webhooks that Lean lists are accounted for until then" }
                }
            }
            p.source {
                "From the database and RabbitMQ, " (snapshot.at.format("%H:%M:%S")) "."
            }
        }
    }
}

fn figure(name: &str, value: &Result<i64, &'static str>, note: &Markup) -> Markup {
    html! {
        div.figure {
            dt { (name) }
            dd.value { @match value { Ok(value) => (number(*value)), Err(class) => span.unknown title=(class) { "unknown" } } }
            dd.note { (note) }
        }
    }
}

fn charts(known: &Known) -> Markup {
    let now = Utc::now();
    let of_last = |counts: &[Option<u64>]| counts.iter().rev().nth(1).copied().flatten();
    html! {
        section #charts.columns aria-label="By minute" {
            @for (name, minutes) in [("Webhooks accepted", &known.webhooks), ("Events published", &known.events)] {
                @let counts = minutes.until(now);
                figure.panel.chart {
                    figcaption {
                        h2 { (name) }
                        p {
                            @match of_last(&counts) {
                                Some(last) => { strong { (number(last.cast_signed())) } " in the last minute" }
                                None => span.quiet { "counting" },
                            }
                        }
                    }
                    (chart::bars(name, &counts))
                    p.source { "60 minutes, from the counters at the admin addresses, since this console started." }
                }
            }
        }
    }
}

fn dead_letters(snapshot: &Snapshot, visit: &Visit) -> Markup {
    html! {
        section #kinds.panel aria-labelledby="kinds-heading" {
            div.head {
                h2 id="kinds-heading" { "Dead letters by kind" }
                a href=(visit.path("/letters")) { "All dead letters" }
            }
            @match &snapshot.kinds {
                Ok(kinds) if kinds.is_empty() => (empty("No letter is dead.", &html! {
                    "A webhook that cannot be handled appears here, and waits for you to replay, edit or discard it."
                })),
                Ok(kinds) => (kinds::table(&kinds[..kinds.len().min(MAX_KINDS)], visit)),
                Err(class) => p.notice.bad { "The database does not answer: " (class) },
            }
        }
    }
}

fn processes(known: &Known) -> Markup {
    html! {
        section #processes.panel aria-labelledby="processes-heading" {
            div.head { h2 id="processes-heading" { "Processes" } }
            @if known.processes.is_empty() {
                (empty("No process has been asked yet.", &html! { "The first answers come within seconds." }))
            } @else {
                table.cards {
                    thead { tr { th scope="col" { "Role" } th scope="col" { "State" } th scope="col" { "Admin address" } } }
                    tbody {
                        @for process in &known.processes {
                            @match &process.roles {
                                None => tr {
                                    td data-label="Role" { span.quiet { "unknown" } }
                                    td data-label="State" { (badge("bad", "no answer")) }
                                    td.mono data-label="Admin address" { (process.address) }
                                },
                                Some(roles) => @for (role, failed) in roles {
                                    tr {
                                        td data-label="Role" { (role) }
                                        td data-label="State" {
                                            @if failed.is_empty() { (badge("good", "ready")) } @else {
                                                (badge("bad", "not ready")) " " (failed.join("; "))
                                            }
                                        }
                                        td.mono data-label="Admin address" { (process.address) }
                                    }
                                },
                            }
                        }
                    }
                }
            }
            p.source { "From BANKLINK_CONSOLE_PROCESSES; every 10 seconds." }
        }
    }
}
