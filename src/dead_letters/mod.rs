//! The operator's door to dead letters: what they say, what a replay would do, the replay itself, and the edit.

mod edit;
mod mask;
mod outcomes;
mod rehearse;
mod replay;

pub use edit::send_edited;
pub use mask::{Masking, render};
pub use outcomes::Tally;
pub use rehearse::{Rehearsal, Rehearsed};
pub use replay::{End, Plan, replay};

use bytes::Bytes;

use crate::broker::Message;
use crate::domain::instant::Instant;
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
fn received_at(letter: &Letter) -> Instant {
    Instant::from_nanos(letter.received_nanos).unwrap_or(Instant::EPOCH)
}
