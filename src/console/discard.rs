//! Discards dead letters: those that were ticked, or all that match a filter. The confirmation says how many, of which kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Console;
use super::fault::Fault;
use super::fields::Fields;
use super::layout::{Page, Section};
use super::letter::crumbs;
use super::parts::letters as count_letters;
use super::redirect::see_other;
use super::selection::Selection;
use super::visit::Visit;
use crate::store::letters::{self, Summary};

/// `POST /letters/discard`: the confirmation.
pub(super) async fn confirm(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    body: Bytes,
) -> Result<Page, Fault> {
    let selection = Selection::read(&Fields::of_form(&body))?;
    let summary = letters::summarize_dead(&console.store, &selection.filter).await?;
    Ok(confirmation(&console, &visit, &selection, &summary, None))
}

/// `POST /letters/discard/confirmed`: discards what was confirmed, if it is still what is dead.
pub(super) async fn discard(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    body: Bytes,
) -> Result<Response, Fault> {
    let fields = Fields::of_form(&body);
    let (selection, reason) = (Selection::read(&fields)?, fields.reason()?.to_owned());
    let selected = letters::select_dead(&console.store, &selection.filter).await?;
    let summary = letters::summarize_dead(&console.store, &selection.filter).await?;
    let was_shown = console.seal.holds(fields.required("shown")?, &[visit.user.as_bytes(), &summary.proof()]);
    if !was_shown || !summary.counts(&selected) {
        let why = "Other letters are dead than when you looked. These would be discarded now.";
        return Ok(confirmation(&console, &visit, &selection, &summary, Some(why)).into_response());
    }
    // Goes on if the browser disconnects.
    let (of, by, why) = (Arc::clone(&console), visit.user.clone(), reason.clone());
    let discarding = tokio::spawn(async move { letters::discard(&of.store, &selected, &why, &by).await });
    let discarded = discarding.await.map_err(|_| Fault::Busy)??;
    tracing::info!(action = "discarded", console.user = visit.user, letters = discarded, "letters were discarded");
    console.facts.forget().await;
    Ok(match selection.only() {
        Some(id) => see_other(&visit.path(&format!("/letters/{id}"))),
        None => {
            let proof = console.seal.of(&discarded_parts(&visit, &discarded.to_string()));
            see_other(&visit.path(&format!("/letters?discarded={discarded}~{proof}")))
        }
    })
}

fn discarded_parts<'a>(visit: &'a Visit, count: &'a str) -> [&'a [u8]; 3] {
    [visit.user.as_bytes(), b"discarded", count.as_bytes()]
}

/// How many letters the user has just discarded, as an address says that [`discard`] has led to.
pub(super) fn discarded(console: &Console, visit: &Visit, fields: &Fields) -> Option<i64> {
    let (count, proof) = fields.get("discarded")?.split_once('~')?;
    console.seal.holds(proof, &discarded_parts(visit, count)).then(|| count.parse().ok())?
}

fn confirmation(
    console: &Console,
    visit: &Visit,
    selection: &Selection,
    summary: &Summary,
    changed: Option<&str>,
) -> Page {
    let count = count_letters(summary.count);
    let body = html! {
        (crumbs(visit, selection.only()))
        h1 { "Discard " (count) "?" }
        @if let Some(changed) = changed { p.notice.busy role="alert" { (changed) } }
        section.panel aria-label="Confirm" {
            @if summary.count == 0 {
                p { "None of them is dead any more, so there is nothing to discard." }
                p { a.button href=(visit.path("/letters")) { "Back to the list" } }
            } @else {
                (what(selection))
                form.stack method="post" action=(visit.path("/letters/discard/confirmed")) autocomplete="off" {
                    (selection.hidden())
                    input type="hidden" name="shown" value=(console.seal.of(&[visit.user.as_bytes(), &summary.proof()]));
                    div.field {
                        label for="reason" { "Reason, kept with the letters" }
                        input #reason name="reason" required maxlength="500" autofocus;
                    }
                    div.actions {
                        button.danger type="submit" { "Discard " (count) }
                        a.button href=(visit.path("/letters")) { "Cancel" }
                    }
                }
            }
        }
    };
    Page::new(format!("Discard {count}"), Section::Letters, body)
}

fn what(selection: &Selection) -> Markup {
    let conditions: BTreeMap<&str, String> = selection.conditions().collect();
    html! {
        p { "They stay on record with your reason, and can never be replayed. Their webhooks change nothing." }
        @if !conditions.is_empty() {
            dl.facts {
                @for (name, value) in conditions { dt { (name) } dd { bdi { (value) } } }
            }
        }
    }
}
