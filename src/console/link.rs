//! One bank link: each value with the instant it is from, its letters, its events, and who saw it.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Request, State as Shared};
use chrono::{TimeDelta, Utc};
use maud::{Markup, html};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::Console;
use super::fault::Fault;
use super::fields::{Fields, query};
use super::layout::{Page, Section};
use super::letter::{record_reveal, reveal_form};
use super::links::value;
use super::parts::{ago, at, empty, masking_badge, state, text};
use super::rights::Right;
use super::timeline;
use super::visit::Visit;
use crate::broker::{self, read_event_log};
use crate::dead_letters::Masking;
use crate::domain::field::Field;
use crate::domain::timestamp::Timestamp;
use crate::store::letters::{self, Filter, Letter, state_now};
use crate::store::link_reads::{self, StoredLink};

/// How far back events are read: as long as the stream keeps them at least.
const EVENTS_SINCE: TimeDelta = TimeDelta::days(7);
/// How long reading events may take.
const EVENTS_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum letters and events that are listed.
const MAX_LISTED: usize = 50;

/// `GET /links/{id}`; with `?events=7d`, the events of the last 7 days, too, for which the whole stream of that time is read.
pub(super) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Page, Fault> {
    let stored = find(&console, &id).await?;
    let events = match Fields::of_query(request.uri()).get("events") {
        Some(_) => events_of(&console, stored.link.entity_id).await?,
        None => Events::NotAskedFor,
    };
    show(&console, &visit, &stored, Masking::Masked, &events).await
}

/// `POST /links/{id}/reveal`: the page with customer data, once that is in the history.
pub(super) async fn reveal(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Page, Fault> {
    let (stored, form) = (find(&console, &id).await?, Fields::of_form(&body));
    record_reveal(&console, &visit, stored.link.entity_id, form.reason()?).await?;
    show(&console, &visit, &stored, Masking::Revealed, &Events::NotAskedFor).await
}

async fn find(console: &Console, id: &str) -> Result<StoredLink, Fault> {
    let not_found =
        Fault::NotFound("There is no bank link of this entity. Its webhook may be dead, or never have arrived.");
    let Ok(id) = id.parse::<Uuid>() else { return Err(not_found) };
    link_reads::of_entity(&console.store, id).await?.ok_or(not_found)
}

/// What is known of a link's events.
enum Events {
    NotAskedFor,
    /// Another page reads the stream.
    Busy,
    /// The newest first.
    Read(Vec<Value>),
}

/// The events about `entity` on the stream.
async fn events_of(console: &Console, entity: Uuid) -> Result<Events, Fault> {
    // One at a time: it reads all events of a week. Requests that wait for their turn would keep others from their pages.
    let Ok(_turn) = console.streams_read.try_lock() else { return Ok(Events::Busy) };
    let (id, mut events) = (json!(entity), Vec::new());
    let read = |body: &[u8]| {
        let event: Value = serde_json::from_slice(body).unwrap_or_default();
        if event["data"]["entity_id"] == id {
            events.push(event);
        }
    };
    let reading = read_event_log(console.facts.connection(), Utc::now() - EVENTS_SINCE, read);
    timeout(EVENTS_DEADLINE, reading).await.unwrap_or(Err(broker::Error::TimedOut))?;
    events.reverse();
    events.truncate(MAX_LISTED);
    Ok(Events::Read(events))
}

async fn show(
    console: &Console,
    visit: &Visit,
    stored: &StoredLink,
    masking: Masking,
    events: &Events,
) -> Result<Page, Fault> {
    let entity = stored.link.entity_id;
    let about = Filter { entity: Some(entity), limit: Some(MAX_LISTED as u64), ..Filter::default() };
    let (letters, history) =
        tokio::join!(letters::page(&console.store, &about, None), letters::history(&console.store, entity));
    let body = html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(visit.path("/links")) { "Bank links" } }
        div.title { h1 { "Bank link" } span.mono.quiet { (entity) } }
        div.columns {
            (facts(stored))
            (timeline::section(&history?))
        }
        (fields(stored, masking, visit))
        (dead_letters(&letters?, entity, visit))
        (events_section(events, entity, visit))
    };
    Ok(Page::new(format!("Bank link {entity}"), Section::Links, body))
}

fn facts(stored: &StoredLink) -> Markup {
    let link = &stored.link;
    let instant = |timestamp: Option<Timestamp>| {
        html! { @match timestamp { Some(timestamp) => (at(timestamp.to_micros())), None => span.quiet { "never" } } }
    };
    html! {
        section.panel aria-labelledby="facts-heading" {
            div.head { h2 id="facts-heading" { "Life" } }
            dl.facts {
                dt { "Linked" } dd { (instant(link.linked_at)) }
                dt { "Reconnected" } dd { (instant(link.reconnected_at)) }
                dt { "Newest webhook" } dd { (instant(Some(link.version))) }
                dt { "Revision" } dd { (link.revision) }
                dt { "Row inserted" } dd { (at(stored.created_at)) }
                dt { "Row written" } dd { (at(stored.updated_at)) }
            }
        }
    }
}

fn fields(stored: &StoredLink, masking: Masking, visit: &Visit) -> Markup {
    html! {
        section.panel aria-labelledby="fields-heading" {
            div.head {
                h2 id="fields-heading" { "Values" }
                (masking_badge(masking))
            }
            table.cards {
                thead { tr { th scope="col" { "Field" } th scope="col" { "Value" } th scope="col" { "From the webhook of" } } }
                tbody {
                    @for (field, held) in Field::ALL.into_iter().zip(&stored.link.fields) {
                        tr {
                            td data-label="Field" { (field.name()) }
                            td data-label="Value" { (value(&stored.link, field, masking)) }
                            td.mono data-label="From" {
                                @match held { Some(held) => (held.timestamp.rfc3339_nanos()), None => span.quiet { "–" } }
                            }
                        }
                    }
                }
            }
            @if masking == Masking::Masked && visit.may(Right::Reveal) {
                (reveal_form(&visit.path(&format!("/links/{}/reveal", stored.link.entity_id))))
            }
        }
    }
}

fn dead_letters(letters: &[Letter], entity: Uuid, visit: &Visit) -> Markup {
    let all = query([("entity", Some(entity.to_string())), ("state", Some("any".to_owned()))]);
    html! {
        section.panel aria-labelledby="letters-heading" {
            div.head {
                h2 id="letters-heading" { "Its letters" }
                @if letters.len() == MAX_LISTED { a href={ (visit.path("/letters")) "?" (all) } { "All of them" } }
            }
            @if letters.is_empty() {
                (empty("No webhook about it has died.", &html! { "Each one was applied, or held nothing new." }))
            } @else {
                table.cards {
                    thead { tr { th scope="col" { "Died" } th scope="col" { "Failure" } th scope="col" { "State" } } }
                    tbody {
                        @for letter in letters {
                            tr {
                                td data-label="Died" {
                                    a href=(visit.path(&format!("/letters/{}", letter.message_id))) { (ago(letter.last_died_at)) }
                                }
                                td data-label="Failure" { (text(&letter.failure_class)) }
                                td data-label="State" { (state(state_now(letter))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn events_section(events: &Events, entity: Uuid, visit: &Visit) -> Markup {
    let path = visit.path(&format!("/links/{entity}?events=7d"));
    let cell = |event: &Value, name: &str| text(event[name].as_str().unwrap_or("–"));
    html! {
        section.panel aria-labelledby="events-heading" {
            div.head { h2 id="events-heading" { "Its events of the last 7 days" } }
            @match events {
                Events::NotAskedFor => p { a.button href=(path) { "Read them from RabbitMQ" } },
                Events::Busy => p.notice.busy { "They are being read for another page now. " a href=(path) { "Try again" } "." },
                Events::Read(events) if events.is_empty() => (empty("None.", &html! { "Nothing about this link was published in that time." })),
                Events::Read(events) => table.cards {
                    thead { tr { th scope="col" { "Time" } th scope="col" { "Event" } th scope="col" { "Revision" } th scope="col" { "Id" } } }
                    tbody {
                        @for event in events {
                            tr {
                                td data-label="Time" { (cell(event, "time")) }
                                td data-label="Event" { (cell(event, "type")) }
                                td data-label="Revision" { (event["data"]["revision"]) }
                                td.mono data-label="Id" { (cell(event, "id")) }
                            }
                        }
                    }
                },
            }
        }
    }
}
