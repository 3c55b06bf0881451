//! Which forms have started which replays, so that a form starts one at most.

use std::collections::VecDeque;

use uuid::Uuid;

/// How many forms are remembered. A form is valid only in the process that made it, so they need not outlive it.
const MAX_FORMS: usize = 1_000;

/// The forms that have started a replay, the oldest first.
#[derive(Default)]
pub(in crate::console) struct Started(VecDeque<(Uuid, i64)>);

impl Started {
    /// The replay that the form `key` has started.
    pub(super) fn find(&self, key: Uuid) -> Option<i64> {
        self.0.iter().find(|(form, _)| *form == key).map(|(_, replay)| *replay)
    }

    /// Remembers that the form `key` has started `replay`.
    pub(super) fn insert(&mut self, key: Uuid, replay: i64) {
        if self.0.len() >= MAX_FORMS {
            self.0.pop_front();
        }
        self.0.push_back((key, replay));
    }
}
