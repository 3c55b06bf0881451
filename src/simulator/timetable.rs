//! Lean's retry timetable, and how far it is sped up.

use std::time::Duration;

/// When Lean posts again, in minutes after the first post.
const RETRY_MINUTES: [u64; 6] = [1, 2, 5, 10, 60, 180];

/// When a webhook that was not accepted is posted again.
#[derive(Clone, Debug)]
pub(super) struct Timetable(Vec<Duration>);

impl Timetable {
    /// Lean's timetable, divided by `time_scale`. 0 is taken for 1.
    pub(super) fn new(time_scale: u32) -> Self {
        Self(RETRY_MINUTES.iter().map(|minutes| Duration::from_secs(minutes * 60) / time_scale.max(1)).collect())
    }

    /// How long after the first post the retry with that number, from 0, is due. `None` once the webhook is given up.
    pub(super) fn retry(&self, number: usize) -> Option<Duration> {
        self.0.get(number).copied()
    }

    /// Every retry.
    pub(super) fn retries(&self) -> &[Duration] {
        &self.0
    }
}
