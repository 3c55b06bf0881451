//! The kinds of dead letters: those that died of the same failure.

use maud::{Markup, html};

use super::fields::query;
use super::parts::{ago, number, text};
use super::replays;
use super::rights::Right;
use super::selection::ALL;
use super::visit::Visit;
use crate::store::letters::FailureGroup;

/// A table of kinds, each with a link to its letters.
pub(super) fn table(kinds: &[FailureGroup], visit: &Visit) -> Markup {
    rows(kinds, None, visit, &|_| None)
}

/// The same, and for those who may, a button for each kind that replays its letters. `current` is the fingerprint of the kind that is
/// being looked at.
pub(super) fn table_with_deeds(kinds: &[FailureGroup], current: &str, visit: &Visit) -> Markup {
    rows(kinds, Some(current), visit, &|kind| visit.may(Right::Change).then(|| replay(kind, visit)))
}

/// The form that replays the letters of a kind.
fn replay(kind: &FailureGroup, visit: &Visit) -> Markup {
    html! {
        form method="post" action=(visit.path(replays::NEW)) {
            input type="hidden" name="scope" value=(ALL);
            input type="hidden" name="class" value=(kind.failure_class);
            input type="hidden" name="fingerprint" value=(kind.fingerprint);
            button.plain type="submit" aria-label={ "Replay the letters of " (kind.fingerprint) } { "Replay" }
        }
    }
}

fn rows(
    kinds: &[FailureGroup],
    current: Option<&str>,
    visit: &Visit,
    deed: &dyn Fn(&FailureGroup) -> Option<Markup>,
) -> Markup {
    html! {
        table.cards.kinds {
            thead {
                tr {
                    th scope="col" { "Failure" }
                    th.number scope="col" { "Letters" }
                    th scope="col" { "First seen" }
                    th scope="col" { "Last seen" }
                    @if kinds.first().and_then(deed).is_some() { th scope="col" { span.sr { "What to do" } } }
                }
            }
            tbody {
                @for kind in kinds {
                    @let fields = [("class", &kind.failure_class), ("fingerprint", &kind.fingerprint)];
                    @let query = query(fields.map(|(name, value)| (name, Some(value.clone()))));
                    tr.current[current == Some(&kind.fingerprint)] {
                        td data-label="Failure" {
                            a.kind href={ (visit.path("/letters")) "?" (query) } { (kind.failure_class) }
                            div.example { (text(&kind.example)) }
                        }
                        td.number data-label="Letters" { (number(kind.count)) }
                        td data-label="First seen" { (ago(kind.first_seen)) }
                        td data-label="Last seen" { (ago(kind.newest)) }
                        @if let Some(deed) = deed(kind) { td.deed data-label="" { (deed) } }
                    }
                }
            }
        }
    }
}
