//! What becomes of replayed letters: looked up in the table, where the worker leaves it, and counted.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::domain::dead_letter::State;
use crate::domain::outcome::Outcome;
use crate::store::dead_letters::{ReplayKey, statuses};
use crate::store::{self, Store};

/// Letters looked up at a time.
const LOOK: usize = 500;

/// How many letters came to what.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReplayTotals {
    /// Taken on.
    pub selected: usize,
    /// Published.
    pub replayed: usize,
    /// Not dead any more when their turn came, or not published.
    pub skipped: usize,
    /// Applied.
    pub applied: usize,
    /// Brought nothing new.
    pub stale: usize,
    /// Not about a bank link.
    pub ignored: usize,
    /// Dead again.
    pub dead: usize,
    /// Published, and not ended yet.
    pub under_way: usize,
}

impl ReplayTotals {
    /// How many ended well.
    pub(super) fn resolved(&self) -> usize {
        self.applied + self.stale + self.ignored
    }

    /// Whether more than that share of those that ended is dead again.
    pub(super) fn fails_more_than(&self, percent: f64) -> bool {
        let share = |part: usize| f64::from(u32::try_from(part).unwrap_or(u32::MAX));
        let ended = self.resolved() + self.dead;
        ended > 0 && share(self.dead) * 100.0 > percent * share(ended)
    }
}

/// Letters that were replayed and have not ended yet, longest ago first.
#[derive(Default)]
pub(super) struct PendingOutcomes(VecDeque<ReplayKey>);

impl PendingOutcomes {
    pub(super) fn add(&mut self, replayed: &[ReplayKey]) {
        self.0.extend(replayed);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Counts those that have ended into `tally`, and forgets them; how many that were.
    pub(super) async fn look(&mut self, store: &Store, tally: &mut ReplayTotals) -> Result<usize, store::Error> {
        let asked: Vec<ReplayKey> = self.0.drain(..self.0.len().min(LOOK)).collect();
        let ids: Vec<Uuid> = asked.iter().map(|life| life.id).collect();
        let found = match statuses(store, &ids).await {
            Ok(found) => found,
            Err(away) => {
                self.0.extend(asked);
                return Err(away);
            }
        };
        let found: HashMap<Uuid, _> =
            found.into_iter().map(|(id, state, outcome, replays)| (id, (state, outcome, replays))).collect();
        let mut ended = 0;
        for life in asked {
            let standing = found.get(&life.id).map(|(state, outcome, replays)| {
                let outcome = outcome.as_deref().and_then(Outcome::parse);
                (State::parse(state), outcome, *replays == life.replays)
            });
            match standing {
                Some((Some(State::Replaying), _, true)) => {
                    self.0.push_back(life);
                    continue;
                }
                Some((Some(State::Resolved), Some(Outcome::Applied), true)) => tally.applied += 1,
                Some((Some(State::Resolved), Some(Outcome::Ignored), true)) => tally.ignored += 1,
                Some((Some(State::Resolved), _, true)) => tally.stale += 1,
                // Dead again, given up by somebody, replayed by somebody once it was dead again, or pruned since.
                _ => tally.dead += 1,
            }
            ended += 1;
        }
        Ok(ended)
    }
}
