//! What the worker writes down of a replayed message that is handled, in the transaction that handled it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::Utc;
use entity::dead_letter::{Column, Entity};
use sea_orm::sea_query::Expr;
use sea_orm::{EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::claims::no_claim;
use super::{Action, append_history};
use crate::domain::dead_letter::{State, derived_id};
use crate::domain::outcome::Outcome;
use crate::store::id_in::id_in;
use crate::store::{Error, Transaction};

/// What the worker made of a replayed message.
#[derive(Clone, Debug)]
pub struct ResolvedMessage {
    /// The message's id on the wire.
    pub wire_id: String,
    /// Its body.
    pub body: bytes::Bytes,
    /// Which replay it was.
    pub replay: u32,
    /// How it was handled.
    pub outcome: Outcome,
}

/// Marks the letters of replayed messages resolved, in the transaction that handled the messages. A message of an earlier
/// life finds another number of replays, and changes nothing.
///
/// # Errors
/// When the database is away.
pub async fn resolve(transaction: &Transaction, messages: &[ResolvedMessage]) -> Result<(), Error> {
    let mut ended = BTreeMap::<Outcome, BTreeSet<Uuid>>::new();
    let mut unmatched: Vec<&ResolvedMessage> = messages.iter().collect();
    // A letter is kept under the message's own id, or, where another body has that id already, under one derived from both.
    for id_of in [ResolvedMessage::own_id, ResolvedMessage::derived_id] {
        let letters = standing(transaction, unmatched.iter().filter_map(|message| id_of(message)).collect()).await?;
        unmatched.retain(|message| {
            let letter = id_of(message).and_then(|id| letters.get(&id)).filter(|letter| message.means(letter));
            if let Some(letter) = letter {
                ended.entry(message.outcome).or_default().insert(letter.message_id);
            }
            letter.is_none()
        });
    }
    for (outcome, ids) in ended {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Resolved.as_str()))
            .col_expr(Column::Outcome, Expr::value(outcome.as_str()))
            .col_expr(Column::ResolvedAt, Expr::value(Utc::now()))
            .col_expr(Column::ClaimedUntil, no_claim())
            .filter(id_in(&transaction.0, Column::MessageId, ids.iter().copied()))
            .exec(&transaction.0)
            .await?;
        append_history(transaction, ids, None, Action::Resolved, Some(outcome.as_str())).await?;
    }
    Ok(())
}

/// As much of a letter as tells whether a message is its own.
#[derive(FromQueryResult)]
struct Standing {
    message_id: Uuid,
    body: Vec<u8>,
    state: String,
    replays: i32,
}

/// Where the letters of those ids stand, locked until the transaction ends.
async fn standing(transaction: &Transaction, ids: BTreeSet<Uuid>) -> Result<HashMap<Uuid, Standing>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let letters = Entity::find()
        .select_only()
        .columns([Column::MessageId, Column::Body, Column::State, Column::Replays])
        .filter(id_in(&transaction.0, Column::MessageId, ids))
        .order_by_asc(Column::MessageId)
        .lock_exclusive()
        .into_model::<Standing>()
        .all(&transaction.0)
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

    /// Whether that is this message's letter, in the life that the message is of, and still open. An id that another body
    /// has too does not make it so.
    fn means(&self, letter: &Standing) -> bool {
        i32::try_from(self.replay).is_ok_and(|replay| replay == letter.replays)
            && State::parse(&letter.state).is_some_and(State::is_open)
            && letter.body == self.body
    }
}
