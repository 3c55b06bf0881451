//! What operators do with dead letters beyond a query: show them masked, dry run, replay and edit
//! (docs/CONTRACT.md#7-dead-letters). Listing, discarding, exporting and pruning are functions of `store::letters`.

mod difference;
mod dry_run;
mod indent;
mod letter_json;
mod mask;
mod replay;
mod replay_ends;
mod replay_lease;
mod replay_publish;
mod replay_runner;
mod replay_views;
mod replay_worker;

pub use difference::line_difference;
pub use dry_run::{DryRun, DryRunAction, DryRunResult};
pub use indent::indented;
pub use letter_json::{entry_object, letter_object, letter_object_with_body, state_name};
pub use mask::{Masking, field_value, render, value_text};
pub use replay_runner::ReplayRunner;
pub use replay_views::{Collect, MAX_DEAD_AGAIN, ReplayView, collect_outcomes, describe, list, show};
pub use replay_worker::{OnPublishFailure, ReplayEnd, ReplayWorker, Taken, TakenReplay, WorkOptions};

use bytes::Bytes;
use uuid::Uuid;

use crate::broker::{self, Message, Outgoing, Publisher, REQUEST_DEADLINE};
use crate::domain::timestamp::Timestamp;
use crate::store::letters::{Letter, ReplayKey, Selected, claim, mark_edited, release_claims};
use crate::store::{self, Store};

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

/// Why an edit failed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// The broker did not confirm the message. The letter is dead again, at the latest when its claim expires after 30 s.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// Publishes the message of `selected` with `body` instead, and marks the letter resolved. The new message has a new id but keeps
/// the time of receipt, so it cannot overwrite newer values of a bank link. Returns the new id, or `None` if the letter is no
/// longer dead.
///
/// # Errors
/// [`EditError::Database`] or [`EditError::Broker`]. The new message may have been published all the same; a repeated edit may publish
/// it twice, which changes nothing.
pub async fn send_edited(
    store: &Store,
    publisher: &Publisher,
    selected: Selected,
    body: Bytes,
    by: &str,
) -> Result<Option<Uuid>, EditError> {
    let Some(letter) = claim(store, &[selected], by).await?.pop() else { return Ok(None) };
    let (key, original) = (ReplayKey::of(&letter), message(&letter));
    let id = Uuid::now_v7();
    let edited = Message { id: id.to_string(), edited_from: Some(original.id.clone()), replay: None, body, ..original };
    let outgoing = Outgoing::webhook(publisher.connection().topology(), &edited);
    if let Err(cause) = publisher.publish(outgoing, REQUEST_DEADLINE).await {
        if cause.is_refusal() {
            release_claims(store, &[key]).await?;
        }
        return Err(cause.into());
    }
    mark_edited(store, key, &edited.id, by).await?;
    Ok(Some(id))
}
