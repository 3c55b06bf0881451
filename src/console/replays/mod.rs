//! The pages of replays: put together with a dry run, started as it was shown, watched, paused, resumed and cancelled.
//!
//! A replay lives in the database: the console works on those that no other process works on, and a page may be closed at any time.

pub(super) mod changes;
pub(super) mod list;
mod pace;
mod plan;
mod progress;
pub(super) mod resume;
pub(super) mod show;
pub(super) mod start;
pub(super) mod started;
mod trial;

use maud::{Markup, html};

use super::Console;
use super::fault::Fault;
use super::visit::Visit;
use crate::dead_letters::{Collect, ReplayView, show as view};

/// The page on which a replay is put together.
pub(super) const NEW: &str = "/replays/new";

/// The id in an address.
fn id(text: &str) -> Result<i64, Fault> {
    text.parse().map_err(|_| NOT_FOUND)
}

const NOT_FOUND: Fault = Fault::NotFound("There is no such replay. It may have been pruned.");

/// The replay that a path names.
async fn find(console: &Console, text: &str) -> Result<ReplayView, Fault> {
    view(&console.store, id(text)?, Collect::ForPage).await?.ok_or(NOT_FOUND)
}

/// The way back. `of` is the replay of a page that belongs to one.
fn crumbs(visit: &Visit, of: Option<i64>) -> Markup {
    html! {
        nav.crumbs aria-label="Breadcrumb" {
            a href=(visit.path("/replays")) { "Replays" }
            @if let Some(id) = of { " / " a href=(visit.path(&format!("/replays/{id}"))) { "Replay " (id) } }
        }
    }
}
