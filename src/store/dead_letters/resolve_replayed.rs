//! Resolves the letters of replayed messages, in the transaction that handles the messages.

use std::collections::{BTreeMap, BTreeSet};

use entity::dead_letter::Column;
use sea_orm::QueryFilter;
use sea_orm::sea_query::Expr;
use uuid::Uuid;

use super::{Action, Letter, append_history, end_letters, is_current, lock_letters};
use crate::domain::dead_letter::{State, derived_id};
use crate::domain::outcome::Outcome;
use crate::store::bulk_statements::id_in;
use crate::store::{Error, Transaction};

/// A replayed message that was handled.
#[derive(Clone, Debug)]
pub struct ResolvedMessage {
    /// The message's id on the wire.
    pub wire_id: String,
    /// Its body.
    pub body: bytes::Bytes,
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
    let mut resolved = BTreeMap::<Outcome, BTreeSet<Uuid>>::new();
    let mut unmatched: Vec<&ResolvedMessage> = messages.iter().collect();
    // A letter has the id of its message, or one derived from id and body if another letter had that id already.
    for id_of in [ResolvedMessage::own_id, ResolvedMessage::derived_id] {
        let ids = unmatched.iter().filter_map(|message| id_of(message)).collect();
        let letters = lock_letters(transaction, &ids).await?;
        unmatched.retain(|message| {
            let letter = id_of(message).and_then(|id| letters.get(&id)).filter(|letter| message.belongs_to(letter));
            if let Some(letter) = letter {
                resolved.entry(message.outcome).or_default().insert(letter.message_id);
            }
            letter.is_none()
        });
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

impl ResolvedMessage {
    fn own_id(&self) -> Option<Uuid> {
        Uuid::parse_str(&self.wire_id).ok()
    }

    fn derived_id(&self) -> Option<Uuid> {
        Some(derived_id(&self.wire_id, &self.body))
    }

    /// Whether `letter` is the letter of this message: the same body, the current replay, and still open. An equal id alone does
    /// not suffice, since another message may have the same one.
    fn belongs_to(&self, letter: &Letter) -> bool {
        is_current(letter, self.replay) && letter.body == self.body
    }
}
