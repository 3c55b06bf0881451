//! One dead letter: its failure, its masked body, its history, and what can be done about it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use uuid::Uuid;

use super::fault::Fault;
use super::fields::{Fields, query};
use super::layout::{Page, Section};
use super::letter_actions;
use super::parts::{at, lines, masking_badge, optional, state, text};
use super::redirect::see_other;
use super::rights::Right;
use super::timeline;
use super::visit::Visit;
use super::{Console, live};
use crate::dead_letters::{Masking, render};
use crate::store::letters::{self, Action, Letter, record_access, state_now};
use crate::store::link_reads;

const NOT_FOUND: Fault = Fault::NotFound("There is no such letter.");

/// `GET /letters/{id}`.
pub(super) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let id: Uuid = id.parse().map_err(|_| NOT_FOUND)?;
    match letters::load_one(&console.store, id).await? {
        Some(letter) => Ok(show(&console, &visit, &letter, Masking::Masked).await?.into_response()),
        None => remains(&console, &visit, id).await,
    }
}

/// What is left of a letter that was pruned: its history. The history of a bank link is on the link's page.
async fn remains(console: &Console, visit: &Visit, id: Uuid) -> Result<Response, Fault> {
    if link_reads::of_entity(&console.store, id).await?.is_some() {
        return Ok(see_other(&visit.path(&format!("/links/{id}"))));
    }
    let history = letters::history(&console.store, id).await?;
    if history.is_empty() {
        return Err(NOT_FOUND);
    }
    let content = html! {
        (crumbs(visit, None))
        div.title { h1 { "Letter" } span.mono.quiet { (id) } }
        p.notice { "This letter was pruned. Its history stays on record." }
        (timeline::section(&history))
    };
    Ok(Page::new(format!("Letter {id}"), Section::Letters, content).into_response())
}

/// `POST /letters/{id}/reveal`: the page with customer data, once that is in the history.
pub(super) async fn reveal(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Page, Fault> {
    let (letter, form) = (find(&console, &id).await?, Fields::of_form(&body));
    record_reveal(&console, &visit, letter.message_id, form.reason()?).await?;
    show(&console, &visit, &letter, Masking::Revealed).await
}

/// Records in history and log, before it is shown, who sees a letter or a link, and why.
pub(super) async fn record_reveal(console: &Console, visit: &Visit, id: Uuid, reason: &str) -> Result<(), Fault> {
    record_access(&console.store, &[id], Action::Revealed, &visit.user, Some(reason)).await?;
    tracing::warn!(action = "revealed", console.user = visit.user, message.id = %id, "customer data is shown");
    Ok(())
}

/// `GET /live/letters/{id}`.
pub(super) async fn stream(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let id = find(&console, &id).await?.message_id;
    let of = Arc::clone(&console);
    live::fragments(&console, &visit, move || {
        let console = Arc::clone(&of);
        async move {
            let (letter, history) =
                tokio::join!(letters::load_one(&console.store, id), letters::history(&console.store, id));
            Ok(html! {
                (heading(&letter?.ok_or(NOT_FOUND)?))
                (timeline::section(&history?))
            })
        }
    })
}

/// The letter that a path names.
pub(super) async fn find(console: &Console, id: &str) -> Result<Letter, Fault> {
    letters::load_one(&console.store, id.parse().map_err(|_| NOT_FOUND)?).await?.ok_or(NOT_FOUND)
}

async fn show(console: &Console, visit: &Visit, letter: &Letter, masking: Masking) -> Result<Page, Fault> {
    let history = letters::history(&console.store, letter.message_id).await?;
    let id = letter.message_id;
    let content = html! {
        (crumbs(visit, None))
        (heading(letter))
        div.columns {
            section.panel aria-labelledby="failure-heading" {
                div.head { h2 id="failure-heading" { "Failure" } }
                (facts(letter, visit))
            }
            @if letter_actions::any(letter, visit) { (letter_actions::panel(letter, visit)) }
        }
        div.columns {
            (body(letter, masking, visit))
            (timeline::section(&history))
        }
    };
    let page = Page::new(format!("Letter {id}"), Section::Letters, content);
    // A page with customer data stays as it is, and is not shown any longer than it is looked at.
    Ok(if masking == Masking::Masked { page.live(format!("/live/letters/{id}")) } else { page })
}

/// The way back. `id` is the letter of a page that belongs to one.
pub(super) fn crumbs(visit: &Visit, id: Option<Uuid>) -> Markup {
    html! {
        nav.crumbs aria-label="Breadcrumb" {
            a href=(visit.path("/letters")) { "Dead letters" }
            @if let Some(id) = id { " / " a.mono href=(visit.path(&format!("/letters/{id}"))) { (id) } }
        }
    }
}

fn heading(letter: &Letter) -> Markup {
    html! {
        section #heading aria-live="polite" {
            div.title {
                h1 { (text(&letter.failure_class)) }
                (state(state_now(letter)))
                @if let Some(outcome) = &letter.outcome { span.quiet { (text(outcome)) } }
            }
        }
    }
}

fn facts(letter: &Letter, visit: &Visit) -> Markup {
    let alike =
        query([("class", Some(letter.failure_class.clone())), ("fingerprint", Some(letter.fingerprint.clone()))]);
    html! {
        dl.facts {
            dt { "Failure" } dd { (text(&letter.failure)) }
            dt { "Kind" } dd {
                a.mono href={ (visit.path("/letters")) "?" (alike) } { (letter.fingerprint) } " " span.quiet { "all of this kind" }
            }
            dt { "Webhook" } dd { (optional(letter.event_type.as_deref())) }
            dt { "Entity" } dd {
                @match letter.entity_id {
                    Some(id) => a.mono href={ (visit.path("/links")) "?" (query([("q", Some(id.to_string()))])) } { (id) },
                    None => span.quiet { "–" },
                }
            }
            dt { "Message" } dd.mono { (letter.message_id) }
            @if let Some(id) = &letter.wire_id { dt { "AMQP id" } dd.mono { (text(id)) } }
            @if let Some(id) = &letter.edited_from { dt { "Edited from" } dd.mono { (text(id)) } }
            dt { "Source" } dd { (text(&letter.source)) }
            dt { "Received" } dd { (at(letter.received_at)) }
            dt { "First died" } dd { (at(letter.first_died_at)) }
            dt { "Last died" } dd { (at(letter.last_died_at)) }
            dt { "Counts" } dd { "attempts " (letter.attempts) " · deaths " (letter.deaths) " · replays " (letter.replays) }
            @if let Some(note) = &letter.note { dt { "Note" } dd { (text(note)) } }
            @if let Some(parent) = &letter.traceparent { dt { "Trace" } dd.mono { (text(parent)) } }
        }
    }
}

fn body(letter: &Letter, masking: Masking, visit: &Visit) -> Markup {
    html! {
        section.panel aria-labelledby="body-heading" {
            div.head {
                h2 id="body-heading" { "Body" }
                (masking_badge(masking))
            }
            pre.body tabindex="0" aria-labelledby="body-heading" { (lines(&render(&letter.body, masking))) }
            @if masking == Masking::Masked && visit.may(Right::Reveal) {
                (reveal_form(&visit.path(&format!("/letters/{}/reveal", letter.message_id))))
            }
        }
    }
}

/// The form that asks why customer data is to be shown.
pub(super) fn reveal_form(action: &str) -> Markup {
    html! {
        form.inline.reveal method="post" action=(action) autocomplete="off" {
            div.field {
                label for="reveal-reason" { "Reason to see customer data" }
                input #reveal-reason name="reason" required maxlength="500" placeholder="Ticket or question";
            }
            button type="submit" { "Reveal" }
        }
        p.source { "Your name, the reason and the time go into the history before anything is shown." }
    }
}
