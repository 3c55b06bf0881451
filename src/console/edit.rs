//! Edits a dead letter: the body in a form, then the difference and a dry run, then the new message.
//!
//! What is sent is what was shown: the last form carries a proof of the letter, the new body and the dry run.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use maud::{Markup, html};
use uuid::Uuid;

use super::difference::difference;
use super::fault::Fault;
use super::fields::Fields;
use super::layout::{Page, Section};
use super::letter::{crumbs, find, record_reveal};
use super::parts::{badge, text};
use super::redirect::see_other;
use super::visit::Visit;
use super::{Console, effects};
use crate::dead_letters::{DryRun, DryRunResult, Masking, render, send_edited};
use crate::domain::dead_letter::State;
use crate::store::letters::{self, Filter, Letter, state_now};

/// `POST /letters/{id}/edit`: the form with the body, once the reason is in the history.
pub(super) async fn form(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Page, Fault> {
    let (letter, fields) = (find_dead(&console, &id).await?, Fields::of_form(&body));
    record_reveal(&console, &visit, letter.message_id, fields.reason()?).await?;
    let shown = render(&letter.body, Masking::Revealed);
    Ok(page(&visit, letter.message_id, &editor(&console, &visit, &letter, &shown)))
}

/// `POST /letters/{id}/edit/preview`: the difference, and what the new body would do.
pub(super) async fn preview(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Page, Fault> {
    let (letter, fields) = (find_dead(&console, &id).await?, Fields::of_form(&body));
    let edited = Edited::read(&console, &visit, letter, &fields)?;
    let results = edited.dry_run(&console).await?;
    let shown = confirmation(&console, &visit, &edited, &results, None).await?;
    Ok(page(&visit, edited.letter.message_id, &shown))
}

/// `POST /letters/{id}/edit/send`: sends the new body, if nothing has changed since it was shown.
pub(super) async fn send(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Result<Response, Page>, Fault> {
    let (letter, fields) = (find_dead(&console, &id).await?, Fields::of_form(&body));
    let edited = Edited::read(&console, &visit, letter, &fields)?;
    let results = edited.dry_run(&console).await?;
    if !console.seal.holds(fields.required("shown")?, &edited.shown(&visit, &results).each_ref().map(Vec::as_slice)) {
        let why = "The letter or the bank link has changed since you looked. This is what would happen now.";
        let shown = confirmation(&console, &visit, &edited, &results, Some(why)).await?;
        return Ok(Err(page(&visit, edited.letter.message_id, &shown)));
    }
    let id = edited.letter.message_id;
    let filter = Filter { ids: vec![id], ..Filter::default() };
    let selected = letters::select_dead(&console.store, &filter).await?.first().copied().ok_or_else(no_longer_dead)?;
    // Goes on if the browser disconnects.
    let (of, by, new) = (Arc::clone(&console), visit.user.clone(), Bytes::from(edited.body));
    let sending = tokio::spawn(async move { send_edited(&of.store, &of.publisher, selected, new, &by).await });
    let sent = sending.await.map_err(|_| Fault::Busy)?.map_err(Fault::from)?.ok_or_else(no_longer_dead)?;
    tracing::info!(action = "edited", console.user = visit.user, message.id = %id, into = %sent, "a letter was edited");
    console.facts.forget().await;
    Ok(Ok(see_other(&visit.path(&format!("/letters/{id}")))))
}

/// A letter with another body.
struct Edited {
    letter: Letter,
    body: Vec<u8>,
    /// The proof that the user was shown the body, for which there is a reason on record.
    opened: String,
}

impl Edited {
    fn read(console: &Console, visit: &Visit, letter: Letter, fields: &Fields) -> Result<Self, Fault> {
        let opened = fields.required("opened")?.to_owned();
        if !console.seal.holds(&opened, &opened_parts(visit, &letter)) {
            return Err(Fault::Conflict(
                "Open the letter and edit it again: its body has to be shown first.".to_owned(),
            ));
        }
        // Browsers end each line of a form with CR LF.
        let body = fields.raw("body").unwrap_or_default().replace("\r\n", "\n").into_bytes();
        if body == letter.body || body == render(&letter.body, Masking::Revealed).into_bytes() {
            return Err(Fault::Invalid("The body is unchanged. Replay the letter to send it as it is.".to_owned()));
        }
        Ok(Self { letter, body, opened })
    }

    async fn dry_run(&self, console: &Console) -> Result<Vec<DryRunResult>, Fault> {
        let letter = Letter { body: self.body.clone(), ..self.letter.clone() };
        Ok(DryRun::default().run(&console.store, &[letter]).await?)
    }

    /// What the confirmation shows.
    fn shown(&self, visit: &Visit, results: &[DryRunResult]) -> [Vec<u8>; 5] {
        let letter = format!("{} {}", self.letter.message_id, self.letter.deaths);
        let (user, old) = (visit.user.clone().into_bytes(), self.letter.body.clone());
        [letter.into_bytes(), user, old, self.body.clone(), format!("{results:?}").into_bytes()]
    }
}

fn opened_parts<'a>(visit: &'a Visit, letter: &'a Letter) -> [&'a [u8]; 3] {
    [letter.message_id.as_bytes(), visit.user.as_bytes(), &letter.body]
}

async fn find_dead(console: &Console, id: &str) -> Result<Letter, Fault> {
    let letter = find(console, id).await?;
    if state_now(&letter) == Some(State::Dead) { Ok(letter) } else { Err(no_longer_dead()) }
}

fn no_longer_dead() -> Fault {
    Fault::Conflict("The letter is no longer dead: it was replayed, edited or discarded. Nothing was done.".to_owned())
}

fn page(visit: &Visit, id: Uuid, content: &Markup) -> Page {
    let body = html! { (crumbs(visit, Some(id))) (content) };
    Page::new("Edit a letter", Section::Letters, body)
}

fn editor(console: &Console, visit: &Visit, letter: &Letter, shown: &str) -> Markup {
    let action = visit.path(&format!("/letters/{}/edit/preview", letter.message_id));
    html! {
        h1 { "Edit the body" }
        section.panel aria-label="Body" {
            p.notice { (text(&letter.failure_class)) ": " (text(&letter.failure)) }
            form.stack method="post" action=(action) autocomplete="off" {
                input type="hidden" name="opened" value=(console.seal.of(&opened_parts(visit, letter)));
                label for="body" { "Body of the new message" }
                textarea #body name="body" rows="24" spellcheck="false" required {
                    // A line break right after the tag is not a part of the value.
                    "\n" (shown)
                }
                div.actions {
                    button.primary type="submit" { "Show the difference and a dry run" }
                    a.button href=(visit.path(&format!("/letters/{}", letter.message_id))) { "Cancel" }
                }
            }
        }
    }
}

async fn confirmation(
    console: &Console,
    visit: &Visit,
    edited: &Edited,
    results: &[DryRunResult],
    changed: Option<&str>,
) -> Result<Markup, Fault> {
    let (id, body) = (edited.letter.message_id, String::from_utf8_lossy(&edited.body));
    let shown = edited.shown(visit, results);
    let [old, new] = [&edited.letter.body, &edited.body].map(|body| render(body, Masking::Revealed));
    let difference = difference(old, new).await?;
    Ok(html! {
        h1 { "Send the edited body?" }
        @if let Some(changed) = changed { p.notice.busy role="alert" { (changed) } }
        section.panel aria-labelledby="effect-heading" {
            div.head { h2 id="effect-heading" { "What it would do" } (badge("quiet", "dry run")) }
            (effects::sum(results))
            (effects::table(results, visit))
        }
        section.panel aria-labelledby="difference-heading" {
            div.head { h2 id="difference-heading" { "Difference" } }
            (difference)
        }
        section.panel aria-label="Confirm" {
            form.stack method="post" action=(visit.path(&format!("/letters/{id}/edit/send"))) {
                p { "1 new message will be published to the work queue. The letter itself becomes resolved, with the outcome “edited”." }
                input type="hidden" name="opened" value=(edited.opened);
                input type="hidden" name="shown" value=(console.seal.of(&shown.each_ref().map(Vec::as_slice)));
                input type="hidden" name="body" value=(body);
                div.actions {
                    button.primary type="submit" { "Send it" }
                    a.button href=(visit.path(&format!("/letters/{id}"))) { "Cancel" }
                }
            }
        }
    })
}
