//! Resumes replays. One that has stopped by itself asks first: what has failed, what would follow, and why to go on.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::changes::done;
use super::progress::state_badge;
use super::{crumbs, find};
use crate::console::Console;
use crate::console::fault::Fault;
use crate::console::fields::Fields;
use crate::console::layout::{Page, Section};
use crate::console::parts::{letters as count_letters, number, text};
use crate::console::visit::Visit;
use crate::dead_letters::ReplayView;
use crate::domain::canaries::Canaries;
use crate::domain::replay::ReplayState;
use crate::store::replays::{self, Resume, state, totals};

/// `POST /replays/{id}/resume`: resumes what was paused; of what has stopped, the question, and the resumption once it was answered.
pub(in crate::console) async fn resume(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(text): Path<String>,
    body: Bytes,
) -> Result<Response, Fault> {
    let (view, fields) = (find(&console, &text).await?, Fields::of_form(&body));
    let id = view.replay.id;
    if state(&view.replay) != Some(ReplayState::Stopped) {
        return done(&visit, "resumed", replays::resume(&console.store, id, &visit.user, Resume::Paused).await?);
    }
    let shown = shown(&visit, &view);
    let parts = shown.each_ref().map(Vec::as_slice);
    let asked = fields.get("asked");
    if asked.is_some_and(|asked| console.seal.holds(asked, &parts)) {
        let reason = Resume::Stopped(Some(fields.reason()?));
        return done(&visit, "resumed", replays::resume(&console.store, id, &visit.user, reason).await?);
    }
    let changed = asked.map(|_| "The numbers have changed since you looked. This is how it stands now.");
    Ok(question(&visit, &view, &console.seal.of(&parts), changed).into_response())
}

/// What the question shows.
fn shown(visit: &Visit, view: &ReplayView) -> [Vec<u8>; 4] {
    let numbers = format!("{:?} {:?} {:?}", totals(&view.replay), view.canaries, view.replay.failure);
    [visit.user.clone().into_bytes(), b"resume".to_vec(), view.replay.id.to_be_bytes().to_vec(), numbers.into_bytes()]
}

fn question(visit: &Visit, view: &ReplayView, asked: &str, changed: Option<&str>) -> Page {
    let (id, totals) = (view.replay.id, totals(&view.replay));
    let body = html! {
        (crumbs(visit, Some(id)))
        div.title { h1 { "Resume replay " (id) "?" } (state_badge(&view.replay)) }
        @if let Some(changed) = changed { p.notice.busy role="alert" { (changed) } }
        section.panel aria-label="Confirm" {
            @if let Some(failure) = &view.replay.failure { p.notice.bad { "It stopped: " (text(failure)) "." } }
            form.stack method="post" action=(visit.path(&format!("/replays/{id}/resume"))) autocomplete="off" {
                @if let Some(canaries) = view.canaries.filter(|_| view.replay.canary_ended_at.is_none()) {
                    (waiting_for(canaries, view.replay.canaries_ignored))
                }
                p {
                    (number(totals.resolved() as u64)) " resolved, " (number(totals.dead as u64)) " dead again, "
                    (number(totals.skipped as u64)) " skipped so far. "
                    strong { (count_letters(totals.remaining() as u64)) " would follow." }
                }
                @if let Some(percent) = view.replay.stop_on_failure {
                    p.quiet { "It stops again if more than " (percent) " % of what ends from now on is dead again." }
                }
                input type="hidden" name="asked" value=(asked);
                div.field {
                    label for="reason" { "Reason to go on, kept with the replay" }
                    input #reason name="reason" required maxlength="500" placeholder="What was found, and what was done about it";
                }
                div.actions {
                    button.primary type="submit" { "Resume the replay" }
                    a.button href=(visit.path(&format!("/replays/{id}"))) { "Back" }
                }
            }
        }
    };
    Page::new(format!("Resume replay {id}"), Section::Replays, body)
}

/// How the canaries stand, and what a resumption means for them.
fn waiting_for(canaries: Canaries, ignored: i32) -> Markup {
    let Canaries { resolved, failed, open } = canaries;
    html! {
        p {
            (number(canaries.total())) " canaries: " (number(resolved)) " resolved, " (number(failed)) " dead again or skipped, "
            (number(open)) " to come. "
            @if failed > ignored { strong { "The failed ones keep the others back no more if you resume. " } }
            @if open > 0 { "Those to come are still waited for." }
        }
    }
}
