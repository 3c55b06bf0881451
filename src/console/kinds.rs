//! The kinds of dead letters: those that died of the same failure.

use maud::{Markup, html};

use super::fields::query;
use super::parts::{ago, number, text};
use super::visit::Visit;
use crate::store::letters::FailureGroup;

/// A table of kinds, each with a link to its letters. `current` is the fingerprint of the one that is being looked at.
pub(super) fn table(kinds: &[FailureGroup], current: Option<&str>, visit: &Visit) -> Markup {
    html! {
        table.cards.kinds {
            thead {
                tr {
                    th scope="col" { "Failure" }
                    th.number scope="col" { "Letters" }
                    th scope="col" { "First seen" }
                    th scope="col" { "Last seen" }
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
                        td data-label="First seen" { (ago(kind.oldest)) }
                        td data-label="Last seen" { (ago(kind.newest)) }
                    }
                }
            }
        }
    }
}
