//! Replays as operators see them: listed, and one with the process that works on it and the letters that are dead again.
//!
//! A replay that is paused or cancelled, or that no process works on, still has letters under way. Their outcomes are collected before
//! it is shown, so that it never waits for a process only to be counted.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::replay::ReplayState;
use crate::store::letters::Filter;
use crate::store::replays::{self, Replay, ReplayEntry, totals};
use crate::store::{self, Store};

/// Maximum letters of [`ReplayView::dead_again`].
pub const MAX_DEAD_AGAIN: u64 = 100;

/// A replay.
#[derive(Clone, Debug)]
pub struct ReplayView {
    /// Its row.
    pub replay: Replay,
    /// The process that works on it.
    pub worked_on_by: Option<String>,
    /// The first 100 of the letters that died again. Empty in a list.
    pub dead_again: Vec<Uuid>,
    /// What operators did to it, the oldest first. Empty in a list.
    pub history: Vec<ReplayEntry>,
}

impl ReplayView {
    /// A replay of which nothing else is known.
    #[must_use]
    pub fn of(replay: Replay) -> Self {
        Self { replay, worked_on_by: None, dead_again: Vec::new(), history: Vec::new() }
    }
}

/// The last `limit` replays in `state`, or in any, the newest first.
///
/// # Errors
/// Any [`store::Error`], when the database fails.
pub async fn list(store: &Store, state: Option<ReplayState>, limit: u64) -> Result<Vec<ReplayView>, store::Error> {
    for replay in replays::latest(store, state, limit).await? {
        collect_all(store, &replay).await?;
    }
    let listed = replays::latest(store, state, limit).await?;
    let ids: Vec<i64> = listed.iter().map(|replay| replay.id).collect();
    let mut workers = replays::workers(store, &ids).await?;
    let view = |replay: Replay| ReplayView { worked_on_by: workers.remove(&replay.id), ..ReplayView::of(replay) };
    Ok(listed.into_iter().map(view).collect())
}

/// The replay `id`, if it exists.
///
/// # Errors
/// Any [`store::Error`], when the database fails.
pub async fn show(store: &Store, id: i64) -> Result<Option<ReplayView>, store::Error> {
    let Some(replay) = replays::load(store, id).await? else { return Ok(None) };
    collect_all(store, &replay).await?;
    let Some(replay) = replays::load(store, id).await? else { return Ok(None) };
    let worked_on_by = replays::workers(store, &[id]).await?.remove(&id);
    let dead_again = replays::dead_again(store, id, MAX_DEAD_AGAIN).await?;
    let history = replays::replay_history(store, id).await?;
    Ok(Some(ReplayView { replay, worked_on_by, dead_again, history }))
}

/// Collects the outcomes of every letter of `replay` that is under way.
async fn collect_all(store: &Store, replay: &Replay) -> Result<(), store::Error> {
    if totals(replay).under_way == 0 {
        return Ok(());
    }
    let mut after = None;
    loop {
        after = replays::collect(store, replay.id, after).await?.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Collects the outcomes of every replay that is not complete, before their letters may be deleted.
///
/// # Errors
/// Any [`store::Error`], when the database fails.
pub async fn collect_outcomes(store: &Store) -> Result<(), store::Error> {
    for replay in replays::with_letters_under_way(store).await? {
        collect_all(store, &replay).await?;
    }
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
