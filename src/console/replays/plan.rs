//! What a replay would do: how many letters, the sum of a dry run by effect, and the effect of each of the first ones.

use std::time::Instant;

use maud::{Markup, html};
use uuid::Uuid;

use super::pace::Written;
use super::trial;
use crate::console::layout::{Page, Section};
use crate::console::letter::crumbs;
use crate::console::parts::{at, letters as count_letters, number};
use crate::console::selection::Selection;
use crate::console::visit::Visit;
use crate::console::{Console, effects};
use crate::dead_letters::{DryRunAction, DryRunResult};
use crate::domain::replay::ReplayState;
use crate::store::letters::{self, Summary};
use crate::store::{self, replays};

/// How many letters the table lists.
const MAX_ROWS: usize = 100;

/// A replay that could be started.
pub(super) struct Plan {
    selection: Selection,
    summary: Summary,
    /// Of the letters that were tried, failures first.
    results: Vec<DryRunResult>,
    /// A replay that is running.
    running: Option<i64>,
}

impl Plan {
    /// The plan for the letters that are dead and match the selection now.
    pub(super) async fn of(console: &Console, selection: Selection) -> Result<Self, store::Error> {
        let (begin, store) = (Instant::now(), &console.store);
        let (summary, first) = tokio::try_join!(
            letters::summarize_dead(store, &selection.filter),
            trial::first(store, &selection.filter)
        )?;
        let results = trial::run(console, &selection.filter, &first, summary.count, begin).await?;
        let running = replays::latest(store, Some(ReplayState::Running), 1).await?.pop().map(|replay| replay.id);
        Ok(Self { selection, summary, results, running })
    }

    /// The number of letters.
    pub(super) fn letters(&self) -> i64 {
        self.summary.count
    }

    /// The page: the numbers, the form that starts it, and the effects.
    pub(super) fn page(&self, console: &Console, visit: &Visit, written: &Written, notice: Option<&str>) -> Page {
        let count = count_letters(self.summary.count);
        let body = html! {
            (crumbs(visit, self.selection.only()))
            h1 { "Replay " (count) "?" }
            @if let Some(notice) = notice { p.notice.busy role="alert" { (notice) } }
            @if let Some(running) = self.running {
                p.notice {
                    "Replay " a href=(visit.path(&format!("/replays/{running}"))) { (running) }
                    " is running. A letter that it replays first is skipped by this one."
                }
            }
            @if self.summary.count == 0 {
                section.panel {
                    p { "None of them is dead now, so there is nothing to replay." }
                    p { a.button href=(visit.path("/letters")) { "Back to the list" } }
                }
            } @else {
                div.columns {
                    (self.summary())
                    (self.form(console, visit, written, &count))
                }
                (self.table(visit))
            }
        };
        Page::new(format!("Replay {count}"), Section::Replays, body)
    }

    fn summary(&self) -> Markup {
        let (all, tried) = (self.summary.count, i64::try_from(self.results.len()).unwrap_or(i64::MAX));
        html! {
            section.panel aria-labelledby="effects-heading" {
                div.head { h2 id="effects-heading" { "What it would do" } span.badge.quiet { "dry run" } }
                (effects::sum(&self.results))
                p.source {
                    @if tried < all {
                        "The sum is of " (number(tried)) " letters only, of " (number(all)) ": the oldest ones, and of each \
                         kind the oldest and the newest. "
                    } @else { "The sum is of all " (count_letters(all)) ". " }
                    "Nothing was changed. Each letter sees the effects of those before it; webhooks that arrive meanwhile may change them."
                }
                dl.facts.spaced {
                    @if let (Some(first), Some(last)) = (self.summary.oldest, self.summary.newest) {
                        dt { "Oldest death" } dd { (at(first)) }
                        dt { "Newest death" } dd { (at(last)) }
                    }
                    @for (name, value) in self.selection.conditions() { dt { (name) } dd { bdi { (value) } } }
                }
            }
        }
    }

    fn form(&self, console: &Console, visit: &Visit, written: &Written, count: &str) -> Markup {
        let key = Uuid::new_v4();
        html! {
            section.panel aria-labelledby="start-heading" {
                div.head { h2 id="start-heading" { "How" } }
                form.stack method="post" action=(visit.path("/replays")) autocomplete="off" {
                    (self.selection.hidden())
                    input type="hidden" name="key" value=(key);
                    input type="hidden" name="shown" value=(seal(console, visit, key, &self.summary));
                    (written.fields())
                    p { (self.verdict()) }
                    div.actions {
                        button.primary type="submit" { "Replay " (count) }
                        a.button href=(visit.path("/letters")) { "Cancel" }
                    }
                }
                p.source { "It goes on when you close this page, and can be paused or cancelled at any time." }
            }
        }
    }

    /// What the dry run has found, in a sentence.
    fn verdict(&self) -> Markup {
        let (all, tried) = (self.summary.count, i64::try_from(self.results.len()).unwrap_or(i64::MAX));
        let failing = self.results.iter().filter(|result| result.action == DryRunAction::Fail).count();
        html! {
            @if tried < all {
                "Of " (number(tried)) " letters that were tried, out of " (number(all)) ", "
            } @else { "Of all " (count_letters(all)) ", " }
            @if failing > 0 { strong { (number(failing as u64)) " would fail again" } "." } @else { "none would fail again." }
        }
    }

    fn table(&self, visit: &Visit) -> Markup {
        let rows = &self.results[..self.results.len().min(MAX_ROWS)];
        html! {
            section.panel aria-labelledby="letters-heading" {
                div.head {
                    h2 id="letters-heading" { "By letter" }
                    @if i64::try_from(rows.len()).is_ok_and(|rows| rows < self.summary.count) {
                        span.quiet { (number(rows.len() as u64)) " of those that were tried, failures first" }
                    }
                }
                (effects::table(rows, visit))
            }
        }
    }
}

/// The proof that a form `key` has shown these letters, in these of their lives.
fn seal(console: &Console, visit: &Visit, key: Uuid, summary: &Summary) -> String {
    console.seal.of(&[visit.user.as_bytes(), b"replay", key.as_bytes(), &summary.proof()])
}

/// Whether `shown` is that proof.
pub(super) fn was_shown(console: &Console, visit: &Visit, key: Uuid, summary: &Summary, shown: &str) -> bool {
    console.seal.holds(shown, &[visit.user.as_bytes(), b"replay", key.as_bytes(), &summary.proof()])
}
