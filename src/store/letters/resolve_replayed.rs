//! Resolves the letters of replayed messages, in the transaction that handles the messages.

use std::collections::{BTreeMap, BTreeSet};

use entity::dead_letter::Column;
use sea_orm::sea_query::Expr;
use sea_orm::{QueryFilter, QuerySelect};
use uuid::Uuid;

use super::{Action, append_history, end_letters, is_current, locking};
use crate::domain::dead_letter::{State, letter_ids};
use crate::domain::outcome::Outcome;
use crate::domain::timestamp::Timestamp;
use crate::store::bulk_statements::id_in;
use crate::store::{Error, Transaction};

/// A replayed message that was handled.
#[derive(Clone, Debug)]
pub struct ResolvedMessage {
    /// The message's id on the wire.
    pub wire_id: String,
    /// Its body.
    pub body: bytes::Bytes,
    /// When it was received.
    pub received_at: Timestamp,
    /// Its `x-replay`.
    pub replay: u32,
    /// How it was handled.
    pub outcome: Outcome,
}

/// Marks the letters of replayed messages as resolved. A message from an earlier replay than the letter's current one changes
/// nothing.
///
/// # Errors
/// [`Error::Unavailable`] in an outage, [`Error::Blocked`] when another session keeps a letter locked.
pub async fn resolve(transaction: &Transaction, messages: &[ResolvedMessage]) -> Result<(), Error> {
    let ids = messages.iter().flat_map(ResolvedMessage::letter_ids).collect();
    let letters = lock_candidates(transaction, &ids).await?;
    let mut resolved = BTreeMap::<Outcome, BTreeSet<Uuid>>::new();
    for message in messages {
        let is_its_letter = |id: &Uuid| letters.get(id).is_some_and(|letter| message.belongs_to(letter));
        if let Some(id) = message.letter_ids().into_iter().find(is_its_letter) {
            resolved.entry(message.outcome).or_default().insert(id);
        }
    }
    for (outcome, ids) in resolved {
        end_letters(State::Resolved)
            .col_expr(Column::Outcome, Expr::value(outcome.as_str()))
            .filter(id_in(&transaction.connection, Column::MessageId, ids.iter().copied()))
            .exec(&transaction.connection)
            .await?;
        append_history(transaction, ids, None, Action::Resolved, Some(outcome.as_str())).await?;
    }
    Ok(())
}

/// What tells whether a letter is that of a message.
struct Candidate {
    state: String,
    replays: i32,
    body: Vec<u8>,
}

/// The existing letters of `ids`; on PostgreSQL locked until the transaction ends. Every letter of a replay is read here: therefore only
/// these columns, and by position.
async fn lock_candidates(transaction: &Transaction, ids: &BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Candidate>, Error> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let columns = [Column::MessageId, Column::State, Column::Replays, Column::Body];
    let letters = locking(transaction, ids).select_only().columns(columns);
    let rows: Vec<(Uuid, String, i32, Vec<u8>)> = letters.into_tuple().all(&transaction.connection).await?;
    Ok(rows.into_iter().map(|(id, state, replays, body)| (id, Candidate { state, replays, body })).collect())
}

impl ResolvedMessage {
    fn letter_ids(&self) -> Vec<Uuid> {
        letter_ids(&self.wire_id, &self.body, self.received_at)
    }

    /// Whether `letter` is the letter of this message: the same body, the current replay, and still open. An equal id alone does
    /// not suffice, since another message may have the same one.
    fn belongs_to(&self, letter: &Candidate) -> bool {
        is_current(letter.replays, &letter.state, self.replay) && letter.body == self.body
    }
}
