//! How far a replay has come: a bar with a part for each outcome, and the same in numbers.

use maud::{Markup, html};

use crate::console::parts::{badge, number};
use crate::domain::replay::{ReplayState, ReplayTotals};
use crate::store::replays::{Replay, state, totals};

/// The length of a bar.
const LENGTH: usize = 1_000;

/// The parts of a replay, in the order of the bar: class, name, number of letters.
fn parts(totals: &ReplayTotals) -> [(&'static str, &'static str, usize); 7] {
    [
        ("applied", "applied", totals.applied),
        ("stale", "stale", totals.stale),
        ("ignored", "ignored", totals.ignored),
        ("dead", "dead again", totals.dead),
        ("skipped", "skipped", totals.skipped),
        ("under-way", "under way", totals.under_way),
        ("waiting", "waiting", totals.remaining()),
    ]
}

/// The letters that have come to an end.
fn ended(totals: &ReplayTotals) -> usize {
    totals.resolved() + totals.dead + totals.skipped
}

/// The bar.
pub(super) fn bar(replay: &Replay) -> Markup {
    let totals = totals(replay);
    let mut before = 0;
    let rects = parts(&totals).map(|(class, _, count)| {
        let from = before * LENGTH / totals.selected.max(1);
        before += count;
        (class, from, before * LENGTH / totals.selected.max(1) - from)
    });
    let summary = format!("{} of {} letters have ended", number(ended(&totals) as u64), number(totals.selected as u64));
    html! {
        svg.progress role="img" aria-label=(summary) viewBox={ "0 0 " (LENGTH) " 10" } preserveAspectRatio="none" {
            @for (class, from, length) in rects {
                @if length > 0 { rect class=(class) x=(from) y="0" width=(length) height="10" {} }
            }
        }
    }
}

/// The numbers, as the legend of the bar. `dead` is what the number of the letters that are dead again leads to.
pub(super) fn legend(replay: &Replay) -> Markup {
    html! {
        dl.legend {
            @for (class, name, count) in parts(&totals(replay)) {
                div { dt { span class={ "key " (class) } {} (name) } dd { (number(count as u64)) } }
            }
        }
    }
}

/// How many have ended, of how many.
pub(super) fn fraction(replay: &Replay) -> Markup {
    let totals = totals(replay);
    html! { (number(ended(&totals) as u64)) span.quiet { " of " (number(totals.selected as u64)) } }
}

/// The state, as a badge with its word.
pub(super) fn state_badge(replay: &Replay) -> Markup {
    let class = match state(replay) {
        Some(ReplayState::Running) => "busy",
        Some(ReplayState::Stopped) => "bad",
        Some(ReplayState::Done) => "good",
        Some(ReplayState::Paused | ReplayState::Cancelled) | None => "quiet",
    };
    badge(class, state(replay).map_or("unknown", ReplayState::as_str))
}
