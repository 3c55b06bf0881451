//! Pauses and cancels replays. A cancellation asks once, with numbers.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::progress::state_badge;
use super::{NOT_FOUND, crumbs, find, id};
use crate::console::Console;
use crate::console::fault::Fault;
use crate::console::fields::Fields;
use crate::console::layout::{Page, Section};
use crate::console::parts::letters as count_letters;
use crate::console::redirect::see_other;
use crate::console::rights::Right;
use crate::console::visit::Visit;
use crate::domain::replay::{ReplayState, ReplayTotals};
use crate::store::replays::{self, Change, Replay, state, totals};

/// `POST /replays/{id}/pause`.
pub(in crate::console) async fn pause(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(text): Path<String>,
) -> Result<Response, Fault> {
    done(&visit, "paused", replays::pause(&console.store, id(&text)?, &visit.user).await?)
}

/// `POST /replays/{id}/cancel`: the question, and the cancellation once it was answered.
pub(in crate::console) async fn cancel(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    Path(text): Path<String>,
    body: Bytes,
) -> Result<Response, Fault> {
    let replay = find(&console, &text).await?.replay;
    let (fields, id) = (Fields::of_form(&body), replay.id.to_be_bytes());
    let parts: [&[u8]; 3] = [visit.user.as_bytes(), b"cancel", &id];
    if !is_open(&replay) || fields.get("asked").is_some_and(|asked| console.seal.holds(asked, &parts)) {
        return done(&visit, "cancelled", replays::cancel(&console.store, replay.id, &visit.user).await?);
    }
    Ok(question(&visit, &replay, &console.seal.of(&parts)).into_response())
}

/// Back to the replay, or why it cannot be changed.
pub(super) fn done(visit: &Visit, deed: &str, change: Change) -> Result<Response, Fault> {
    match change {
        Change::Done(replay) => {
            tracing::info!(action = deed, console.user = visit.user, replay.id = replay.id, "a replay was changed");
            Ok(see_other(&visit.path(&format!("/replays/{}", replay.id))))
        }
        Change::Refused(replay) => {
            Err(Fault::Conflict(format!("Replay {} is {}, so it cannot be {deed}.", replay.id, replay.state)))
        }
        Change::Missing => Err(NOT_FOUND),
    }
}

fn question(visit: &Visit, replay: &Replay, asked: &str) -> Page {
    let ReplayTotals { replayed, .. } = totals(replay);
    let (id, remaining) = (replay.id, totals(replay).remaining());
    let body = html! {
        (crumbs(visit, Some(id)))
        div.title { h1 { "Cancel replay " (id) "?" } (state_badge(replay)) }
        section.panel aria-label="Confirm" {
            p {
                (count_letters(remaining as u64)) " not replayed yet would stay dead. "
                (count_letters(replayed as u64)) " replayed already cannot be taken back."
            }
            @if state(replay) == Some(ReplayState::Running) {
                p.quiet { "It is running, so the numbers change until you decide. You can also pause it, and resume it later." }
            }
            form.actions.spaced method="post" action=(visit.path(&format!("/replays/{id}/cancel"))) {
                input type="hidden" name="asked" value=(asked);
                button.danger type="submit" { "Cancel the replay" }
                a.button href=(visit.path(&format!("/replays/{id}"))) { "Back" }
            }
        }
    };
    Page::new(format!("Cancel replay {id}"), Section::Replays, body)
}

fn is_open(replay: &Replay) -> bool {
    matches!(state(replay), Some(ReplayState::Running | ReplayState::Paused | ReplayState::Stopped))
}

/// The buttons. Each has its place; the styles show those that the state of the replay permits, which changes while the page is open,
/// so that none ever takes the place of another one under the pointer.
pub(super) fn buttons(replay: &Replay, visit: &Visit) -> Markup {
    let path = |deed: &str| visit.path(&format!("/replays/{}/{deed}", replay.id));
    html! {
        @if visit.may(Right::Change) && is_open(replay) {
            div.replay-deeds role="group" aria-label="What to do with the replay" {
                form.pause method="post" action=(path("pause")) { button type="submit" { "Pause" } }
                form.cancel method="post" action=(path("cancel")) { button.danger type="submit" { "Cancel…" } }
                form.resume method="post" action=(path("resume")) { button.primary type="submit" { "Resume" } }
            }
        }
    }
}
