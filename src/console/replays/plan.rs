//! What a replay would do: how many letters, the sum of a dry run by effect, and the effect of each of the first ones.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use uuid::Uuid;

use super::pace::Written;
use crate::console::fault::Fault;
use crate::console::layout::{Page, Section};
use crate::console::letter::crumbs;
use crate::console::parts::{at, letters as count_letters, number};
use crate::console::selection::Selection;
use crate::console::visit::Visit;
use crate::console::{Console, effects};
use crate::dead_letters::{DryRun, DryRunResult};
use crate::domain::replay::ReplayState;
use crate::store::letters::{self, Selected};
use crate::store::{self, replays};

/// Letters of a dry run that are in memory together.
const BATCH: usize = 500;
/// A dry run goes on for this long, and over so many letters at most, so that the page is there within a second.
const BUDGET: Duration = Duration::from_millis(400);
const MAX_DRY_RUN: usize = 10_000;
/// How many letters the table lists.
const MAX_ROWS: usize = 100;

/// A replay that could be started.
pub(super) struct Plan {
    pub(super) selection: Selection,
    pub(super) selected: Vec<Selected>,
    results: Vec<DryRunResult>,
    /// The oldest and the newest last death.
    died: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// A replay that is running.
    running: Option<i64>,
}

impl Plan {
    /// The plan for the letters in `selected`, which match the selection now.
    pub(super) async fn of(
        console: &Console,
        selection: Selection,
        selected: Vec<Selected>,
    ) -> Result<Self, store::Error> {
        let store = &console.store;
        let (begin, mut dry_run, mut results) = (Instant::now(), DryRun::default(), Vec::new());
        for batch in letters::batches(&selected[..selected.len().min(MAX_DRY_RUN)], BATCH) {
            results.extend(dry_run.run(store, &letters::load_selected(store, batch).await?).await?);
            if begin.elapsed() >= BUDGET {
                break;
            }
        }
        let ends: Vec<Selected> = selected.first().into_iter().chain(selected.last()).copied().collect();
        let ends = if ends.is_empty() { Vec::new() } else { letters::load_selected(store, &ends).await? };
        let died = ends.first().zip(ends.last()).map(|(first, last)| (first.last_died_at, last.last_died_at));
        let running = replays::latest(store, Some(ReplayState::Running), 1).await?.pop().map(|replay| replay.id);
        Ok(Self { selection, selected, results, died, running })
    }

    /// The page: the numbers, the form that starts it, and the effects.
    pub(super) fn page(&self, console: &Console, visit: &Visit, written: &Written, notice: Option<&str>) -> Page {
        let count = count_letters(self.selected.len() as u64);
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
            @if self.selected.is_empty() {
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
        let (all, tried) = (self.selected.len(), self.results.len());
        html! {
            section.panel aria-labelledby="effects-heading" {
                div.head { h2 id="effects-heading" { "What it would do" } span.badge.quiet { "dry run" } }
                (effects::sum(&self.results))
                p.source {
                    @if tried < all {
                        "The sum is of the first " (number(tried as u64)) " letters only, of " (number(all as u64)) ". "
                    } @else { "The sum is of all " (count_letters(all as u64)) ". " }
                    "Nothing was changed. Each letter sees the effects of those before it; webhooks that arrive meanwhile may change them."
                }
                dl.facts.spaced {
                    @if let Some((first, last)) = self.died {
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
                    input type="hidden" name="shown" value=(seal(console, visit, key, &self.selected));
                    (written.fields())
                    div.actions {
                        button.primary type="submit" { "Replay " (count) }
                        a.button href=(visit.path("/letters")) { "Cancel" }
                    }
                }
                p.source { "It goes on when you close this page, and can be paused or cancelled at any time." }
            }
        }
    }

    fn table(&self, visit: &Visit) -> Markup {
        let rows = &self.results[..self.results.len().min(MAX_ROWS)];
        html! {
            section.panel aria-labelledby="letters-heading" {
                div.head {
                    h2 id="letters-heading" { "By letter" }
                    @if rows.len() < self.selected.len() {
                        span.quiet { "the first " (number(rows.len() as u64)) ", in their order" }
                    }
                }
                (effects::table(rows, visit))
            }
        }
    }
}

/// The proof that a form `key` has shown these letters, in these of their lives.
fn seal(console: &Console, visit: &Visit, key: Uuid, selected: &[Selected]) -> String {
    console.seal.of(&[visit.user.as_bytes(), b"replay", key.as_bytes(), &digest(selected)])
}

/// Whether `shown` is that proof.
pub(super) fn was_shown(console: &Console, visit: &Visit, key: Uuid, selected: &[Selected], shown: &str) -> bool {
    console.seal.holds(shown, &[visit.user.as_bytes(), b"replay", key.as_bytes(), &digest(selected)])
}

fn digest(selected: &[Selected]) -> Vec<u8> {
    let life = |letter: &Selected| {
        [letter.id.as_bytes().as_slice(), &letter.deaths.to_be_bytes(), &letter.replays.to_be_bytes()].concat()
    };
    selected.iter().flat_map(life).collect()
}

/// The letters that are dead and match.
pub(super) async fn select(console: &Console, selection: &Selection) -> Result<Vec<Selected>, Fault> {
    Ok(letters::select_dead(&console.store, &selection.filter).await?)
}
