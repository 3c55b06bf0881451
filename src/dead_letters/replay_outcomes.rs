//! Counts the outcomes of replayed letters, which the worker writes to `dead_letters`.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::domain::dead_letter::State;
use crate::domain::outcome::Outcome;
use crate::store::letters::{ReplayKey, statuses};
use crate::store::{self, Store};

/// Maximum letters in one query.
const MAX_POLLED: usize = 500;

/// The totals of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReplayTotals {
    /// Letters selected.
    pub selected: usize,
    /// Letters published.
    pub replayed: usize,
    /// Letters that were no longer dead when they were to be claimed, or that were not published.
    pub skipped: usize,
    /// Replayed letters that were applied.
    pub applied: usize,
    /// Replayed letters that changed nothing.
    pub stale: usize,
    /// Replayed letters that were ignored.
    pub ignored: usize,
    /// Replayed letters that are dead again.
    pub dead: usize,
    /// Replayed letters without an outcome.
    pub under_way: usize,
}

impl ReplayTotals {
    pub(super) fn resolved(&self) -> usize {
        self.applied + self.stale + self.ignored
    }

    /// Whether more than `percent` of the letters with an outcome are dead again.
    pub(super) fn failures_exceed(&self, percent: f64) -> bool {
        let count = |letters: usize| f64::from(u32::try_from(letters).unwrap_or(u32::MAX));
        let ended = self.resolved() + self.dead;
        ended > 0 && count(self.dead) * 100.0 > percent * count(ended)
    }
}

/// Reads the states of up to [`MAX_POLLED`] letters at the front of `pending`. Adds those with an outcome to `totals`, moves the
/// others to the back, and returns how many had an outcome.
pub(super) async fn poll(
    store: &Store,
    pending: &mut VecDeque<ReplayKey>,
    totals: &mut ReplayTotals,
) -> Result<usize, store::Error> {
    let polled: Vec<ReplayKey> = pending.drain(..pending.len().min(MAX_POLLED)).collect();
    let ids: Vec<Uuid> = polled.iter().map(|key| key.id).collect();
    let rows = statuses(store, &ids).await?.into_iter().map(|(id, state, outcome, number)| {
        let outcome = outcome.as_deref().and_then(Outcome::parse);
        (ReplayKey { id, number }, (State::parse(&state), outcome))
    });
    let statuses: HashMap<ReplayKey, _> = rows.collect();
    let mut ended = 0;
    for key in polled {
        match statuses.get(&key) {
            Some((Some(State::Replaying), _)) => {
                pending.push_back(key);
                continue;
            }
            Some((Some(State::Resolved), Some(Outcome::Applied))) => totals.applied += 1,
            Some((Some(State::Resolved), Some(Outcome::Ignored))) => totals.ignored += 1,
            Some((Some(State::Resolved), _)) => totals.stale += 1,
            // It died again and may since have been discarded, replayed or pruned by others.
            _ => totals.dead += 1,
        }
        ended += 1;
    }
    Ok(ended)
}
