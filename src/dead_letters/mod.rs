//! What an operator does with dead letters: show, dry run, replay and edit. See docs/CONTRACT.md#7-dead-letters.

mod dry_run;
mod mask;
mod replay;
mod replay_outcomes;
mod send_edited;

pub use dry_run::{DryRun, DryRunAction, DryRunResult};
pub use mask::{Masking, render};
pub use replay::{ReplayEnd, ReplayOptions, replay};
pub use replay_outcomes::ReplayTotals;
pub use send_edited::send_edited;

use bytes::Bytes;

use crate::broker::Message;
use crate::domain::timestamp::Timestamp;
use crate::store::dead_letters::Letter;

/// The message that replays `letter`: the same id and time of receipt, attempt 1.
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

/// When the letter's message was received, in nanoseconds. The column `received_at` holds only microseconds.
fn received_at(letter: &Letter) -> Timestamp {
    Timestamp::from_nanos(letter.received_nanos).unwrap_or(Timestamp::EPOCH)
}
