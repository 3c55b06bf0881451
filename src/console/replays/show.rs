//! One replay: how far it has come, its pace, who did what, what works on it, and the letters that are dead again.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::progress::{bar, fraction, legend, state_badge};
use super::{NOT_FOUND, changes, crumbs, find};
use crate::console::fault::Fault;
use crate::console::layout::{Page, Section};
use crate::console::parts::{at, number, text};
use crate::console::settings::Changes;
use crate::console::visit::Visit;
use crate::console::{Console, live, timeline};
use crate::dead_letters::{Collect, MAX_DEAD_AGAIN, ReplayView, show};
use crate::domain::replay::ReplayState;
use crate::store::replays::{Replay, state, totals};

/// `GET /replays/{id}`.
pub(in crate::console) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(text): Path<String>,
) -> Result<Page, Fault> {
    let view = find(&console, &text).await?;
    let id = view.replay.id;
    let body = html! {
        (crumbs(&visit, None))
        div.title.with-deeds {
            h1 { "Replay " (id) }
            (state_section(&view.replay))
            (changes::buttons(&view.replay, &visit))
        }
        (sections(&view, &visit))
    };
    Ok(Page::new(format!("Replay {id}"), Section::Replays, body).live(format!("/live/replays/{id}")))
}

/// `GET /live/replays/{id}`.
pub(in crate::console) async fn stream(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(text): Path<String>,
) -> Result<Response, Fault> {
    let id = find(&console, &text).await?.replay.id;
    let of = Arc::clone(&console);
    live::fragments(&console, &visit.clone(), move || {
        let (console, visit) = (Arc::clone(&of), visit.clone());
        async move {
            let view = show(&console.store, id, Collect::ForPage).await?.ok_or(NOT_FOUND)?;
            Ok(html! { (state_section(&view.replay)) (sections(&view, &visit)) })
        }
    })
}

fn sections(view: &ReplayView, visit: &Visit) -> Markup {
    html! {
        (progress(&view.replay))
        div.columns {
            (facts(view, visit))
            div.column { (dead_again(view, visit)) (timeline::section(&view.history)) }
        }
    }
}

/// The state, which also decides which buttons show.
fn state_section(replay: &Replay) -> Markup {
    html! { section #replay-state aria-live="polite" { div data-state=(replay.state) { (state_badge(replay)) } } }
}

fn progress(replay: &Replay) -> Markup {
    let totals = totals(replay);
    html! {
        section #progress.panel aria-labelledby="progress-heading" {
            div.head {
                h2 id="progress-heading" { (fraction(replay)) " letters" }
                @if let (Some(rate @ 1..), Some(ReplayState::Running)) = (replay.rate, state(replay)) {
                    @let seconds = totals.remaining().div_ceil(usize::try_from(rate).unwrap_or(usize::MAX));
                    @if seconds > 0 { span.quiet { "at least " (number(seconds as u64)) " s to go at " (number(rate)) "/s" } }
                }
            }
            (bar(replay))
            (legend(replay))
            @if let Some(failure) = &replay.failure { p.notice.bad { "It stopped: " (text(failure)) "." } }
        }
    }
}

fn facts(view: &ReplayView, visit: &Visit) -> Markup {
    let replay = &view.replay;
    html! {
        section #facts.panel aria-labelledby="facts-heading" {
            div.head { h2 id="facts-heading" { "About it" } }
            dl.facts {
                dt { "Made by" } dd { (text(&replay.created_by)) }
                dt { "Made" } dd { (at(replay.created_at)) }
                dt { "Reason" } dd { @match &replay.reason { Some(reason) => (text(reason)), None => span.quiet { "none given" } } }
                dt { "Selection" } dd { (selection(&replay.selection)) }
                dt { "Pace" } dd {
                    @match replay.rate { Some(rate) => { (number(rate)) " letters per second" }, None => "no limit" }
                }
                dt { "Canaries" } dd { (canaries(view)) }
                dt { "Stops at" } dd {
                    @match replay.stop_on_failure { Some(percent) => { "more than " (percent) " % dead again" }, None => "no number of failures" }
                }
                @if state(replay) == Some(ReplayState::Running) {
                    dt { "Worked on by" } dd {
                        @match (&view.worked_on_by, visit.changes) {
                            (Some(process), _) => (text(process)),
                            (None, Changes::Allowed) => "no process; this console takes it within seconds",
                            (None, Changes::ReadOnly) => "no process; this console is read-only, so another one has to take it",
                        }
                    }
                }
                @if let Some(by) = &replay.changed_by { dt { "Changed by" } dd { (text(by)) } }
                dt { "State since" } dd { (at(replay.changed_at)) }
            }
        }
    }
}

/// How the canaries stand, and who went on although some of them failed.
fn canaries(view: &ReplayView) -> Markup {
    let Some(found) = view.canaries else { return html! { "none" } };
    let ReplayView { replay, .. } = view;
    html! {
        @match (replay.canary_ended_at, replay.canaries_ignored) {
            (Some(_), 0) => { (number(found.total())) ", passed" },
            (Some(_), ignored) => { (number(ignored)) " of " (number(found.total())) " failed" },
            (None, _) => {
                (number(found.total())) ": " (number(found.resolved)) " resolved, " (number(found.failed)) " failed, "
                (number(found.open)) " to come"
            },
        }
        @if let Some(by) = &replay.canaries_ignored_by { "; resumed by " (text(by)) }
        @if replay.canary_ended_at.is_none() { "; the others wait for them" }
    }
}

/// The conditions under which letters were selected.
fn selection(json: &str) -> Markup {
    let conditions: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    html! {
        @if conditions.is_empty() { "all that were dead" }
        @for (name, condition) in &conditions {
            @match name.as_str() {
                "ids" => div { (value(condition)) " ticked or named" },
                name => div { (text(name)) " " (text(&value(condition))) },
            }
        }
    }
}

fn dead_again(view: &ReplayView, visit: &Visit) -> Markup {
    html! {
        section #dead-again.panel aria-labelledby="dead-heading" {
            div.head {
                h2 id="dead-heading" { "Dead again" }
                @if view.dead_again.len() as u64 >= MAX_DEAD_AGAIN { span.quiet { "the first " (MAX_DEAD_AGAIN) } }
            }
            @if view.dead_again.is_empty() { p.quiet { "None so far." } }
            ul.ids {
                @for id in &view.dead_again { li { a.mono href=(visit.path(&format!("/letters/{id}"))) { (id) } } }
            }
        }
    }
}
