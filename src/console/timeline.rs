//! The history of a letter or a link.

use maud::{Markup, html};

use super::parts::{ago, text};
use crate::store::letters::{Action, HistoryEntry};

/// The history, newest entry first.
pub(super) fn section(history: &[HistoryEntry]) -> Markup {
    html! {
        section #history.panel aria-labelledby="history-heading" {
            div.head { h2 id="history-heading" { "History" } }
            @if history.is_empty() { p.quiet { "Nothing is on record." } }
            ol.timeline {
                @for entry in history.iter().rev() {
                    li class=(class(&entry.action)) {
                        p {
                            strong { (text(&entry.action)) }
                            @if let Some(by) = &entry.by { " by " (text(by)) }
                            " " span.quiet { (ago(entry.at)) }
                        }
                        @if let Some(detail) = &entry.detail { p.example { (text(detail)) } }
                    }
                }
            }
        }
    }
}

fn class(action: &str) -> &'static str {
    let is_one_of = |actions: &[Action]| actions.iter().any(|wanted| wanted.as_str() == action);
    if is_one_of(&[Action::Died]) {
        "bad"
    } else if is_one_of(&[Action::Resolved, Action::Edited]) {
        "good"
    } else if is_one_of(&[Action::Revealed, Action::Exported, Action::Replayed]) {
        "busy"
    } else {
        "quiet"
    }
}
