//! The dead letters: by kind, filtered by the address, in pages.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State as Shared};
use maud::{Markup, html};

use super::fault::Fault;
use super::fields::Fields;
use super::kinds;
use super::layout::{Page, Section};
use super::letter_filter::{ANY, LetterFilter, position};
use super::parts::{ago, empty, letters as count_letters, optional, state, text};
use super::replays;
use super::rights::Right;
use super::selection::ALL;
use super::visit::Visit;
use super::{Console, discard};
use crate::domain::dead_letter::State;
use crate::domain::failure::FailureClass;
use crate::store::letters::{self, Filter, Letter, Position, state_now};

/// How many letters a page lists.
const PAGE_SIZE: usize = 50;

/// `GET /letters`.
pub(super) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Page, Fault> {
    let fields = Fields::of_query(request.uri());
    let (filter, after) = (LetterFilter::read(&fields)?, position(&fields)?);
    let one_more = Filter { limit: Some(PAGE_SIZE as u64 + 1), ..filter.filter.clone() };
    let listed = async {
        match console.facts.narrowed(one_more) {
            Some(filter) => letters::page(&console.store, &filter, after).await,
            None => Ok(Vec::new()),
        }
    };
    let (found, snapshot) = tokio::join!(listed, console.facts.snapshot());
    let mut found = found?;
    let has_more = found.len() > PAGE_SIZE;
    found.truncate(PAGE_SIZE);
    let next = found.last().filter(|_| has_more).map(Position::of);
    let body = html! {
        div.title {
            h1 { "Dead letters" }
            @if let Ok(dead) = snapshot.dead() { p.quiet { (count_letters(dead)) " dead now" } }
        }
        @match &snapshot.kinds {
            Ok(all) if !all.is_empty() => section.panel aria-labelledby="kinds-heading" {
                div.head { h2 id="kinds-heading" { "By kind" } }
                (kinds::table_with_deeds(all, filter.written("fingerprint"), &visit))
            },
            _ => {}
        }
        @if let Some(count) = discard::discarded(&console, &visit, &fields) {
            p.notice.good role="status" { (count_letters(count)) " discarded." }
        }
        (filters(&filter, &visit))
        (list(&found, &filter, &visit))
        nav.pages aria-label="Pages" {
            @if after.is_some() { a href={ (visit.path("/letters")) "?" (filter.query(None)) } { "Newest" } }
            @if let Some(next) = next {
                a rel="next" href={ (visit.path("/letters")) "?" (filter.query(Some(next))) } { "Older" }
            }
        }
    };
    Ok(Page::new("Dead letters", Section::Letters, body))
}

fn filters(filter: &LetterFilter, visit: &Visit) -> Markup {
    let states = [State::Dead, State::Replaying, State::Resolved, State::Discarded].map(State::as_str);
    let input = |name: &str, label: &str, hint: &str| {
        html! {
            div.field {
                label for=(name) { (label) }
                input id=(name) name=(name) value=(filter.written(name)) placeholder=(hint) autocomplete="off" spellcheck="false";
            }
        }
    };
    html! {
        details.panel.filters open[filter.is_narrowed()] {
            summary { h2 { "Filter" } }
            form method="get" action=(visit.path("/letters")) {
                div.field {
                    label for="state" { "State" }
                    select #state name="state" {
                        @for name in states.into_iter().chain([ANY]) {
                            option value=(name) selected[filter.written("state") == name] { (name) }
                        }
                    }
                }
                div.field {
                    label for="class" { "Failure class" }
                    select #class name="class" {
                        option value="" { "any" }
                        @for class in FailureClass::ALL {
                            option value=(class.as_str()) selected[filter.written("class") == class.as_str()] { (class.as_str()) }
                        }
                    }
                }
                (input("type", "Webhook type", "entity.created"))
                (input("entity", "Entity", "UUID"))
                (input("fingerprint", "Fingerprint", "12 hex digits"))
                (input("since", "Died since", "2h, 3d or RFC 3339"))
                (input("until", "Died before", "2h, 3d or RFC 3339"))
                div.field.actions {
                    button.primary type="submit" { "Filter" }
                    a.button href=(visit.path("/letters")) { "Clear" }
                }
            }
        }
    }
}

fn list(found: &[Letter], filter: &LetterFilter, visit: &Visit) -> Markup {
    if found.is_empty() {
        let next = html! {
            @if filter.is_narrowed() || !filter.written("state").is_empty() {
                "No letter matches the filter. " a href=(visit.path("/letters")) { "Show all that are dead" } "."
            } @else {
                "A webhook that cannot be handled appears here, and waits for you to replay, edit or discard it."
            }
        };
        return html! { section.panel { (empty("Nothing here.", &next)) } };
    }
    html! {
        section.panel aria-labelledby="list-heading" {
            h2.sr id="list-heading" { "Letters" }
            form method="post" data-ticks {
                @for (name, value) in filter.fields() { input type="hidden" name=(name) value=(value); }
                (toolbar(filter, visit))
                table.cards.letters {
                    thead {
                        tr {
                            @if may_tick(visit) {
                                th.tick scope="col" { input type="checkbox" data-tick-all aria-label="Tick all on this page" hidden; }
                            }
                            th scope="col" { "Died" }
                            th scope="col" { "Failure" }
                            th scope="col" { "Webhook" }
                            th scope="col" { "Entity" }
                            th scope="col" { "State" }
                        }
                    }
                    tbody { @for letter in found { (row(letter, visit)) } }
                }
            }
        }
    }
}

fn may_tick(visit: &Visit) -> bool {
    visit.may(Right::Change) || visit.may(Right::Export)
}

/// The buttons for the ticked letters, or for all that match.
fn toolbar(filter: &LetterFilter, visit: &Visit) -> Markup {
    let only_dead = filter.filter.state == Some(State::Dead);
    html! {
        @if may_tick(visit) {
            div.toolbar role="group" aria-label="What to do with letters" {
                @if visit.may(Right::Change) && only_dead {
                    button.primary type="submit" formaction=(visit.path(replays::NEW)) data-needs-ticks { "Replay ticked" }
                    button type="submit" name="scope" value=(ALL) formaction=(visit.path(replays::NEW)) {
                        "Replay all that match"
                    }
                    button.danger type="submit" formaction=(visit.path("/letters/discard")) data-needs-ticks { "Discard ticked" }
                    button.danger type="submit" name="scope" value=(ALL) formaction=(visit.path("/letters/discard")) {
                        "Discard all that match"
                    }
                }
                @if visit.may(Right::Export) {
                    details.export {
                        summary { "Export" }
                        div.actions {
                            label.sr for="export-reason" { "Reason to export customer data" }
                            input #export-reason name="reason" maxlength="500" placeholder="Reason, for the history" autocomplete="off";
                            button type="submit" formaction=(visit.path("/letters/export")) data-needs-ticks { "Export ticked" }
                            button type="submit" name="scope" value=(ALL) formaction=(visit.path("/letters/export")) {
                                "Export all that match"
                            }
                        }
                    }
                }
            }
        }
    }
}

fn row(letter: &Letter, visit: &Visit) -> Markup {
    let path = visit.path(&format!("/letters/{}", letter.message_id));
    html! {
        tr {
            @if may_tick(visit) {
                td.tick data-label="Tick" {
                    input type="checkbox" name="id" value=(letter.message_id) aria-label={ "Tick " (letter.message_id) };
                }
            }
            td data-label="Died" { a href=(path) { (ago(letter.last_died_at)) } }
            td data-label="Failure" {
                strong { (text(&letter.failure_class)) }
                div.example { (text(&letter.failure)) }
            }
            td data-label="Webhook" { (optional(letter.event_type.as_deref())) }
            td.mono data-label="Entity" {
                @match letter.entity_id { Some(id) => (id), None => span.quiet { "–" } }
            }
            td data-label="State" { (state(state_now(letter))) }
        }
    }
}
