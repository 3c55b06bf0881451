//! Resolves the letters of replayed messages, in the transaction that handles the messages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::Utc;
use entity::dead_letter::{Column, Entity};
use sea_orm::sea_query::Expr;
use sea_orm::{EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Action, append_history, null_timestamp};
use crate::domain::dead_letter::{State, derived_id};
use crate::domain::outcome::Outcome;
use crate::store::id_in::id_in;
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
        let letters =
            lock_letters(transaction, unmatched.iter().filter_map(|message| id_of(message)).collect()).await?;
        unmatched.retain(|message| {
            let letter = id_of(message).and_then(|id| letters.get(&id)).filter(|letter| message.belongs_to(letter));
            if let Some(letter) = letter {
                resolved.entry(message.outcome).or_default().insert(letter.message_id);
            }
            letter.is_none()
        });
    }
    for (outcome, ids) in resolved {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Resolved.as_str()))
            .col_expr(Column::Outcome, Expr::value(outcome.as_str()))
            .col_expr(Column::ResolvedAt, Expr::value(Utc::now()))
            .col_expr(Column::ClaimedUntil, null_timestamp())
            .filter(id_in(&transaction.connection, Column::MessageId, ids.iter().copied()))
            .exec(&transaction.connection)
            .await?;
        append_history(transaction, ids, None, Action::Resolved, Some(outcome.as_str())).await?;
    }
    Ok(())
}

/// The columns that decide whether a letter belongs to a message.
#[derive(FromQueryResult)]
struct LetterKey {
    message_id: Uuid,
    body: Vec<u8>,
    state: String,
    replays: i32,
}

/// The existing letters of `ids`; on PostgreSQL locked until the transaction ends.
async fn lock_letters(transaction: &Transaction, ids: BTreeSet<Uuid>) -> Result<HashMap<Uuid, LetterKey>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let letters = Entity::find()
        .select_only()
        .columns([Column::MessageId, Column::Body, Column::State, Column::Replays])
        .filter(id_in(&transaction.connection, Column::MessageId, ids))
        .order_by_asc(Column::MessageId)
        .lock_exclusive()
        .into_model::<LetterKey>()
        .all(&transaction.connection)
        .await?;
    Ok(letters.into_iter().map(|letter| (letter.message_id, letter)).collect())
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
    fn belongs_to(&self, letter: &LetterKey) -> bool {
        i32::try_from(self.replay).is_ok_and(|replay| replay == letter.replays)
            && State::parse(&letter.state).is_some_and(State::is_open)
            && letter.body == self.body
    }
}
