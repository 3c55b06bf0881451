//! Replays as operators see them: listed, and one with the process that works on it and the letters that are dead again.
//!
//! A replay that is paused or cancelled, or that no process works on, still has letters under way. Their outcomes are collected before
//! it is shown, so that it never waits for a process only to be counted. Who shows a page collects for a moment only.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::canaries::Canaries;
use crate::domain::replay::ReplayState;
use crate::store::letters::Filter;
use crate::store::replays::{self, Replay, ReplayEntry, totals};
use crate::store::{self, Store};

/// How long a page collects outcomes, for all replays that it shows.
const PAGE_BUDGET: Duration = Duration::from_millis(100);
/// Maximum letters of [`ReplayView::dead_again`].
pub const MAX_DEAD_AGAIN: u64 = 100;

/// For how long outcomes are collected before replays are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collect {
    /// Until the counts are those of this moment, which takes seconds with 100,000 letters under way.
    All,
    /// For 100 ms, and not at all while another process works on the replay, which collects them itself.
    ForPage,
}

/// A replay.
#[derive(Clone, Debug)]
pub struct ReplayView {
    /// Its row.
    pub replay: Replay,
    /// The process that works on it.
    pub worked_on_by: Option<String>,
    /// The first 100 of the letters that died again. Empty in a list.
    pub dead_again: Vec<Uuid>,
    /// What became of its canaries so far. `None` if it has none, and in a list.
    pub canaries: Option<Canaries>,
    /// What operators did to it, the oldest first. Empty in a list.
    pub history: Vec<ReplayEntry>,
}

impl ReplayView {
    /// A replay of which nothing else is known.
    #[must_use]
    pub fn of(replay: Replay) -> Self {
        Self { replay, worked_on_by: None, dead_again: Vec::new(), canaries: None, history: Vec::new() }
    }
}

/// The last `limit` replays in `state`, or in any, the newest first.
///
/// # Errors
/// Any [`store::Error`], when the database fails.
pub async fn list(
    store: &Store,
    state: Option<ReplayState>,
    limit: u64,
    collect: Collect,
) -> Result<Vec<ReplayView>, store::Error> {
    let listed = replays::latest(store, state, limit).await?;
    let listed =
        if collect_all(store, &listed, collect).await? { replays::latest(store, state, limit).await? } else { listed };
    let ids: Vec<i64> = listed.iter().map(|replay| replay.id).collect();
    let mut workers = replays::workers(store, &ids).await?;
    let view = |replay: Replay| ReplayView { worked_on_by: workers.remove(&replay.id), ..ReplayView::of(replay) };
    Ok(listed.into_iter().map(view).collect())
}

/// The replay `id`, if it exists.
///
/// # Errors
/// Any [`store::Error`], when the database fails.
pub async fn show(store: &Store, id: i64, collect: Collect) -> Result<Option<ReplayView>, store::Error> {
    let Some(mut replay) = replays::load(store, id).await? else { return Ok(None) };
    if collect_all(store, std::slice::from_ref(&replay), collect).await? {
        let Some(collected) = replays::load(store, id).await? else { return Ok(None) };
        replay = collected;
    }
    let worked_on_by = replays::workers(store, &[id]).await?.remove(&id);
    let dead_again = if replay.dead > 0 { replays::dead_again(store, id, MAX_DEAD_AGAIN).await? } else { Vec::new() };
    let canaries = replays::canaries(store, &replay).await?;
    let history = replays::replay_history(store, id).await?;
    Ok(Some(ReplayView { replay, worked_on_by, dead_again, canaries, history }))
}

/// Collects the outcomes of letters of `shown` that are under way. Returns whether there were any.
async fn collect_all(store: &Store, shown: &[Replay], collect: Collect) -> Result<bool, store::Error> {
    let mut under_way: Vec<i64> =
        shown.iter().filter(|replay| totals(replay).under_way > 0).map(|replay| replay.id).collect();
    let deadline = match collect {
        Collect::All => None,
        Collect::ForPage => {
            let workers = replays::workers(store, &under_way).await?;
            under_way.retain(|id| !workers.contains_key(id));
            Some(Instant::now() + PAGE_BUDGET)
        }
    };
    for id in &under_way {
        let mut after = None;
        loop {
            after = replays::collect(store, *id, after).await?.next;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(true);
            }
            if after.is_none() {
                break;
            }
        }
    }
    Ok(!under_way.is_empty())
}

/// Collects the outcomes of every replay that is not complete, before their letters may be deleted.
///
/// # Errors
/// Any [`store::Error`], when the database fails.
pub async fn collect_outcomes(store: &Store) -> Result<(), store::Error> {
    collect_all(store, &replays::with_letters_under_way(store).await?, Collect::All).await?;
    Ok(())
}

/// `filter` as the JSON object of the column `selection`: the names of the command line's flags, and for named letters only how many.
#[must_use]
pub fn describe(filter: &Filter) -> String {
    let Filter { ids, class, event_type, entity, fingerprint, since, until, state: _, limit } = filter;
    let members = [
        ("ids", (!ids.is_empty()).then(|| json!(ids.len()))),
        ("class", class.map(|class| json!(class.as_str()))),
        ("type", event_type.as_ref().map(|event_type| json!(event_type))),
        ("entity", entity.map(|entity| json!(entity))),
        ("fingerprint", fingerprint.as_ref().map(|fingerprint| json!(fingerprint))),
        ("since", since.map(|since| json!(since))),
        ("until", until.map(|until| json!(until))),
        ("limit", limit.map(|limit| json!(limit))),
    ];
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>()).to_string()
}
