//! A replay of dead letters: its states, its totals, and what became of each of its letters (docs/CONTRACT.md#7-dead-letters).
//!
//! Everything follows from rows, so a process that takes a replay over decides as the one before would have done.

use super::dead_letter::State;
use super::outcome::Outcome;

/// The state of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// Letters are replayed, or outcomes are waited for, by whichever process holds the lease.
    Running,
    /// An operator paused it; it can be resumed.
    Paused,
    /// It stopped itself, because letters failed or could not be published; it can be resumed.
    Stopped,
    /// Every letter has an outcome.
    Done,
    /// An operator cancelled it; the letters that were not replayed stay dead.
    Cancelled,
}

impl ReplayState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Running, Self::Paused, Self::Stopped, Self::Done, Self::Cancelled];

    /// The value of the column `state`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What a replay came to for one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LetterOutcome {
    /// Its message was handled.
    Resolved(Outcome),
    /// Its message died again.
    Dead,
    /// It was not replayed, because it had changed since it was selected.
    Skipped,
}

impl LetterOutcome {
    /// The value of the column `outcome` of `replay_letters`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolved(outcome) => outcome.as_str(),
            Self::Dead => "dead",
            Self::Skipped => "skipped",
        }
    }
}

/// The totals of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReplayTotals {
    /// Letters selected.
    pub selected: usize,
    /// Letters claimed and published.
    pub replayed: usize,
    /// Letters that had changed when they were to be claimed.
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
    /// The replayed letters that were handled.
    #[must_use]
    pub fn resolved(&self) -> usize {
        self.applied + self.stale + self.ignored
    }

    /// The letters that are neither replayed nor skipped yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.selected.saturating_sub(self.replayed + self.skipped)
    }
}

/// Whether more than `percent` of the letters that ended are dead again.
#[must_use]
pub fn failures_exceed(percent: f64, resolved: usize, dead: usize) -> bool {
    let count = |letters: usize| f64::from(u32::try_from(letters).unwrap_or(u32::MAX));
    let ended = resolved + dead;
    ended > 0 && count(dead) * 100.0 > percent * count(ended)
}

/// A letter of a replay, as it was when the replay was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrozenLetter {
    /// Its number of replays then.
    pub replays: i32,
    /// Its number of deaths then.
    pub deaths: i32,
    /// Its number of replays since this replay has claimed it.
    pub claimed: Option<i32>,
}

/// The same letter now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterNow {
    /// Its state, in which an expired claim counts as dead; `None` if it is unknown.
    pub state: Option<State>,
    /// Its number of replays.
    pub replays: i32,
    /// Its number of deaths.
    pub deaths: i32,
    /// Its outcome, if it is resolved.
    pub outcome: Option<Outcome>,
}

/// How far a letter that the replay has claimed has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterProgress {
    /// Its message is on its way.
    UnderWay,
    /// Its claim expired before its message was known to be published: it may be claimed again.
    ClaimExpired,
    /// It has this outcome.
    Ended(LetterOutcome),
}

impl FrozenLetter {
    /// Whether the replay may claim the letter: it is dead as it was selected, or as this replay's own expired claim has left it. So a
    /// letter that another replay has replayed is not replayed a second time.
    #[must_use]
    pub fn may_be_claimed(self, now: LetterNow) -> bool {
        let number = self.claimed.unwrap_or(self.replays);
        now.state == Some(State::Dead) && now.replays == number && now.deaths == self.deaths
    }

    /// How far the claimed letter has come; `None` means that it was deleted.
    #[must_use]
    pub fn progress(self, now: Option<LetterNow>) -> LetterProgress {
        // Letters are deleted only after they have ended. It is not known how, so this counts as a failure.
        let Some(now) = now else { return LetterProgress::Ended(LetterOutcome::Dead) };
        if self.may_be_claimed(now) {
            return LetterProgress::ClaimExpired;
        }
        let is_current = self.claimed == Some(now.replays);
        LetterProgress::Ended(match now.state {
            Some(State::Replaying) if is_current => return LetterProgress::UnderWay,
            Some(State::Resolved) if is_current => LetterOutcome::Resolved(now.outcome.unwrap_or(Outcome::Stale)),
            // It died again and may since have been discarded or replayed by others.
            _ if now.deaths > self.deaths => LetterOutcome::Dead,
            // Its claim expired, and others have replayed or discarded it.
            _ => LetterOutcome::Skipped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(state: State, replays: i32, deaths: i32) -> LetterNow {
        let outcome = (state == State::Resolved).then_some(Outcome::Applied);
        LetterNow { state: Some(state), replays, deaths, outcome }
    }

    #[test]
    fn a_letter_is_claimed_only_as_it_was_selected_or_as_an_own_claim_left_it() {
        let selected = FrozenLetter { replays: 2, deaths: 3, claimed: None };
        assert!(selected.may_be_claimed(now(State::Dead, 2, 3)));
        for changed in [now(State::Dead, 3, 3), now(State::Dead, 2, 4), now(State::Replaying, 2, 3)] {
            assert!(!selected.may_be_claimed(changed), "{changed:?}");
        }
        let claimed = FrozenLetter { claimed: Some(3), ..selected };
        assert!(claimed.may_be_claimed(now(State::Dead, 3, 3)) && !claimed.may_be_claimed(now(State::Dead, 4, 3)));
    }

    #[test]
    fn the_progress_of_a_claimed_letter_follows_from_its_row() {
        use LetterOutcome::{Dead, Resolved, Skipped};
        let claimed = FrozenLetter { replays: 2, deaths: 3, claimed: Some(3) };
        for (now, expected) in [
            (now(State::Replaying, 3, 3), LetterProgress::UnderWay),
            (now(State::Dead, 3, 3), LetterProgress::ClaimExpired),
            (now(State::Resolved, 3, 3), LetterProgress::Ended(Resolved(Outcome::Applied))),
            (now(State::Dead, 3, 4), LetterProgress::Ended(Dead)),
            (now(State::Discarded, 3, 4), LetterProgress::Ended(Dead)),
            (now(State::Replaying, 4, 4), LetterProgress::Ended(Dead)),
            (now(State::Replaying, 4, 3), LetterProgress::Ended(Skipped)),
            (now(State::Resolved, 4, 3), LetterProgress::Ended(Skipped)),
            (now(State::Discarded, 3, 3), LetterProgress::Ended(Skipped)),
        ] {
            assert_eq!(claimed.progress(Some(now)), expected, "{now:?}");
        }
        assert_eq!(claimed.progress(None), LetterProgress::Ended(Dead));
    }

    #[test]
    fn the_share_of_failures_is_of_the_letters_that_ended() {
        assert!(!failures_exceed(0.0, 0, 0) && failures_exceed(0.0, 99, 1));
        assert!(!failures_exceed(50.0, 1, 1) && failures_exceed(49.9, 1, 1));
    }
}
