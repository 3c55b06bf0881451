//! What can be done about a dead letter, as forms: replay, edit, discard.

use maud::{Markup, html};

use super::replays;
use super::rights::Right;
use super::visit::Visit;
use crate::domain::dead_letter::State;
use crate::store::letters::{Letter, state_now};

/// Whether the user may do anything about the letter.
pub(super) fn any(letter: &Letter, visit: &Visit) -> bool {
    visit.may(Right::Change) && state_now(letter) == Some(State::Dead)
}

/// The forms.
pub(super) fn panel(letter: &Letter, visit: &Visit) -> Markup {
    let id = letter.message_id;
    html! {
        section.panel.deeds aria-labelledby="deeds-heading" {
            div.head { h2 id="deeds-heading" { "What to do" } }
            form.stack method="post" action=(visit.path(replays::NEW)) {
                h3 { "Replay" }
                p.quiet { "Once the cause is gone: send it in again as it is. A dry run shows what that would change." }
                input type="hidden" name="id" value=(id);
                div { button.primary type="submit" { "Replay" } }
            }
            form.stack method="post" action=(visit.path(&format!("/letters/{id}/edit"))) autocomplete="off" {
                h3 { "Edit" }
                p.quiet { "If the body is at fault: send it in with another body, as a new message." }
                div.field {
                    label for="edit-reason" { "Reason to see and edit the body" }
                    input #edit-reason name="reason" required maxlength="500";
                }
                div { button type="submit" { "Edit the body" } }
            }
            form.stack method="post" action=(visit.path("/letters/discard")) {
                h3 { "Discard" }
                p.quiet { "If it is not wanted: keep it on record, and never replay it." }
                input type="hidden" name="id" value=(id);
                div { button.danger type="submit" { "Discard" } }
            }
        }
    }
}
