//! Claims: which letters a replay may publish, so that no two replays publish the same letter.
//!
//! A claim expires. If a replay is killed between claiming and publishing, its letters count as dead again and can be claimed
//! anew. Each claim adds 1 to `replays`; the message carries that number, and only a message or a replay that names the current
//! number can change the letter.
//!
//! The queries select letters by id alone and check the state in Rust. With the state in the condition PostgreSQL might choose
//! the index of open letters, and read all of them to find a few hundred.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::Utc;
use entity::dead_letter::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::letter_queries::state_now;
use super::{Action, Letter, Selected, append_history, null_timestamp};
use crate::domain::dead_letter::State;
use crate::store::id_in::id_in;
use crate::store::{Error, Store, Transaction};

/// How long a claim is valid, unless [`confirm_claims`] makes it permanent.
const CLAIM_VALIDITY: Duration = Duration::from_secs(30);

/// A letter that this replay has claimed.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The letter; `replays` includes this replay.
    pub letter: Letter,
}

impl Claimed {
    /// The letter and the number of this replay.
    #[must_use]
    pub fn key(&self) -> ReplayKey {
        ReplayKey { id: self.letter.message_id, replays: self.letter.replays }
    }
}

/// One replay of one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayKey {
    /// The letter.
    pub id: Uuid,
    /// Its `replays`, which identifies the replay.
    pub replays: i32,
}

/// Claims those of `selected` that are still dead and have not died again since they were selected; the others may belong to
/// another replay. Returns them in the order of `selected`.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn claim(store: &Store, selected: &[Selected], by: &str) -> Result<Vec<Claimed>, Error> {
    store
        .transaction(async |transaction| {
            let connection = &transaction.connection;
            let letters = Entity::find()
                .filter(id_in(connection, Column::MessageId, selected.iter().map(|selected| selected.id)))
                .order_by_asc(Column::MessageId)
                .lock_exclusive()
                .all(connection)
                .await?;
            let mut letters: HashMap<Uuid, Letter> =
                letters.into_iter().map(|letter| (letter.message_id, letter)).collect();
            let unchanged = selected.iter().filter_map(|selected| {
                letters
                    .remove(&selected.id)
                    .filter(|letter| state_now(letter) == Some(State::Dead) && letter.deaths == selected.deaths)
            });
            let mut claimed: Vec<Claimed> = unchanged.map(|letter| Claimed { letter }).collect();
            let ids: Vec<Uuid> = claimed.iter().map(|claimed| claimed.letter.message_id).collect();
            if ids.is_empty() {
                return Ok(claimed);
            }
            Entity::update_many()
                .col_expr(Column::State, Expr::value(State::Replaying.as_str()))
                .col_expr(Column::Replays, Expr::col(Column::Replays).add(1))
                .col_expr(Column::ReplayedAt, Expr::value(Utc::now()))
                .col_expr(Column::ReplayedBy, Expr::value(by))
                .col_expr(Column::ClaimedUntil, Expr::value(Utc::now() + CLAIM_VALIDITY))
                .filter(id_in(connection, Column::MessageId, ids.iter().copied()))
                .exec(connection)
                .await?;
            append_history(transaction, ids, Some(by), Action::Replayed, None).await?;
            for claimed in &mut claimed {
                claimed.letter.replays += 1;
            }
            Ok(claimed)
        })
        .await
}

/// Makes claims permanent once the broker has confirmed their messages.
///
/// Skips letters that the worker has locked: their claims are about to end, and waiting for the worker could deadlock. If the
/// worker then rolls back, such a claim expires and its letter may be replayed once more, which is idempotent.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`]. The claims then expire; a message that is handled
/// nevertheless resolves its letter.
pub async fn confirm_claims(store: &Store, keys: &[ReplayKey]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    store
        .transaction(async |transaction| {
            for (replays, ids) in by_replays(keys) {
                let unlocked = Query::select()
                    .column(Column::MessageId)
                    .from(Entity)
                    .and_where(in_replay(transaction, replays, ids))
                    .and_where(Column::ClaimedUntil.is_not_null())
                    .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
                    .take();
                Entity::update_many()
                    .col_expr(Column::ClaimedUntil, null_timestamp())
                    .filter(Column::MessageId.in_subquery(unlocked))
                    .exec(&transaction.connection)
                    .await?;
            }
            Ok(())
        })
        .await
}

/// Ends claims on letters whose messages were certainly not published: the letters are dead again.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`]. The claims then expire.
pub async fn release_claims(store: &Store, keys: &[ReplayKey]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    store
        .transaction(async |transaction| {
            for (replays, ids) in by_replays(keys) {
                Entity::update_many()
                    .col_expr(Column::State, Expr::value(State::Dead.as_str()))
                    .col_expr(Column::ClaimedUntil, null_timestamp())
                    .filter(in_replay(transaction, replays, ids))
                    .filter(Column::State.eq(State::Replaying.as_str()))
                    .exec(&transaction.connection)
                    .await?;
            }
            Ok(())
        })
        .await
}

/// The ids of letters, grouped by their number of replays.
fn by_replays(keys: &[ReplayKey]) -> BTreeMap<i32, Vec<Uuid>> {
    let mut ids = BTreeMap::<i32, Vec<Uuid>>::new();
    for key in keys {
        ids.entry(key.replays).or_default().push(key.id);
    }
    ids
}

/// Whether a letter is one of `ids` and has not been replayed again since.
fn in_replay(transaction: &Transaction, replays: i32, ids: Vec<Uuid>) -> Expr {
    id_in(&transaction.connection, Column::MessageId, ids).and(Column::Replays.eq(replays))
}

/// Id, state, outcome and number of replays of each letter of `ids` that still exists.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn statuses(store: &Store, ids: &[Uuid]) -> Result<Vec<(Uuid, String, Option<String>, i32)>, Error> {
    let columns = [Column::MessageId, Column::State, Column::Outcome, Column::Replays];
    let is_selected = id_in(&store.connection, Column::MessageId, ids.iter().copied());
    let select = Entity::find().select_only().columns(columns).filter(is_selected);
    store.query(select.into_tuple().all(&store.connection)).await
}
