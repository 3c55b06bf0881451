//! What a dry run has found, as a sum by effect and as a table.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::parts::{badge, number, text};
use super::visit::Visit;
use crate::dead_letters::{DryRunAction, DryRunResult};

/// The effects in the order of the sum.
const ACTIONS: [DryRunAction; 5] =
    [DryRunAction::Insert, DryRunAction::Update, DryRunAction::Stale, DryRunAction::Ignore, DryRunAction::Fail];

/// What the effect means, for people.
fn meaning(action: DryRunAction) -> (&'static str, &'static str) {
    match action {
        DryRunAction::Insert => ("good", "insert a bank link"),
        DryRunAction::Update => ("good", "update a bank link"),
        DryRunAction::Stale => ("quiet", "change nothing: newer values are held"),
        DryRunAction::Ignore => ("quiet", "be ignored: not about a bank link"),
        DryRunAction::Fail => ("bad", "fail again"),
    }
}

/// How many letters would have which effect.
pub(super) fn sum(results: &[DryRunResult]) -> Markup {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for result in results {
        *counts.entry(result.action.as_str()).or_default() += 1;
    }
    html! {
        ul.effects {
            @for action in ACTIONS {
                @if let Some(count) = counts.get(action.as_str()) {
                    @let (class, meaning) = meaning(action);
                    li { span class={ "badge " (class) } { (number(i64::try_from(*count).unwrap_or(i64::MAX))) } " would " (meaning) }
                }
            }
        }
    }
}

/// The effect of each letter.
pub(super) fn table(results: &[DryRunResult], visit: &Visit) -> Markup {
    html! {
        table.cards {
            thead { tr { th scope="col" { "Letter" } th scope="col" { "Would" } th scope="col" { "Events or failure" } } }
            tbody {
                @for result in results {
                    tr {
                        td.mono data-label="Letter" {
                            a href=(visit.path(&format!("/letters/{}", result.message_id))) { (result.message_id) }
                        }
                        td data-label="Would" { (badge(meaning(result.action).0, result.action.as_str())) }
                        td data-label="Result" { (text(&result.detail())) }
                    }
                }
            }
        }
    }
}
