//! The operator's door to dead letters: what they say, what a replay would do, the replay itself, and the edit.

mod dry_run;
mod mask;
mod replay;
mod replay_outcomes;
mod send_edited;

pub use dry_run::{DryRun, DryRunResult};
pub use mask::{Masking, render};
pub use replay::{ReplayEnd, ReplayOptions, replay};
pub use replay_outcomes::ReplayTotals;
pub use send_edited::send_edited;

use bytes::Bytes;

use crate::broker::Message;
use crate::domain::timestamp::Timestamp;
use crate::store::dead_letters::Letter;

/// The message that a letter is sent in again as: the same id, the same receipt, a first attempt.
#[must_use]
pub fn message(letter: &Letter) -> Message {
    Message {
        id: letter.wire_id.clone().unwrap_or_else(|| letter.message_id.to_string()),
        source: Some(letter.source.clone()),
        received_at: received_at(letter),
        attempt: 1,
        replay: u32::try_from(letter.replays).ok(),
        edited_from: letter.edited_from.clone(),
        traceparent: letter.traceparent.clone(),
        body: Bytes::from(letter.body.clone()),
    }
}

/// When the letter's message was received, to the nanosecond.
fn received_at(letter: &Letter) -> Timestamp {
    Timestamp::from_nanos(letter.received_nanos).unwrap_or(Timestamp::EPOCH)
}
