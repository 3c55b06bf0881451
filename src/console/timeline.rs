//! The history of a letter, a link or a replay.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::parts::{ago, text};
use crate::store::letters::{Action, HistoryEntry};
use crate::store::replays::{ReplayAction, ReplayEntry};

/// An entry as the timeline shows it.
pub(super) struct Line<'a> {
    at: DateTime<Utc>,
    by: Option<&'a str>,
    action: &'a str,
    detail: Option<&'a str>,
}

impl<'a> From<&'a HistoryEntry> for Line<'a> {
    fn from(entry: &'a HistoryEntry) -> Self {
        Self { at: entry.at, by: entry.by.as_deref(), action: &entry.action, detail: entry.detail.as_deref() }
    }
}

impl<'a> From<&'a ReplayEntry> for Line<'a> {
    fn from(entry: &'a ReplayEntry) -> Self {
        Self { at: entry.at, by: Some(&entry.by), action: &entry.action, detail: entry.detail.as_deref() }
    }
}

/// The history, newest entry first.
pub(super) fn section<'a, E>(history: &'a [E]) -> Markup
where
    Line<'a>: From<&'a E>,
{
    html! {
        section #history.panel aria-labelledby="history-heading" {
            div.head { h2 id="history-heading" { "History" } }
            @if history.is_empty() { p.quiet { "Nothing is on record." } }
            ol.timeline {
                @for entry in history.iter().rev().map(Line::from) {
                    li class=(class(entry.action)) {
                        p {
                            strong { (text(entry.action)) }
                            @if let Some(by) = entry.by { " by " (text(by)) }
                            " " span.quiet { (ago(entry.at)) }
                        }
                        @if let Some(detail) = entry.detail { p.example { (text(detail)) } }
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
    } else if is_one_of(&[Action::Revealed, Action::Exported, Action::Replayed]) || goes_on(action) {
        "busy"
    } else {
        "quiet"
    }
}

/// Whether that lets the letters of a replay go.
fn goes_on(action: &str) -> bool {
    [ReplayAction::Started, ReplayAction::Resumed].iter().any(|wanted| wanted.as_str() == action)
}
