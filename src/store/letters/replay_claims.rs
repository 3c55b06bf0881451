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

use chrono::{DateTime, Utc};
use entity::dead_letter::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, UpdateMany};
use uuid::Uuid;

use super::letter_queries::{state_at, state_now};
use super::{Action, Letter, Selected, append_history, lock_letters, null_timestamp};
use crate::domain::dead_letter::State;
use crate::domain::outcome::Outcome;
use crate::domain::replay::LetterNow;
use crate::store::bulk_statements::id_in;
use crate::store::{Error, Store, Transaction};

/// How long a claim is valid, unless [`confirm_claims`] makes it permanent.
const CLAIM_VALIDITY: Duration = Duration::from_secs(30);

/// One replay of one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayKey {
    /// The letter.
    pub id: Uuid,
    /// The number of the replay: the column `replays`, and the header `x-replay` of the message.
    pub number: i32,
}

impl ReplayKey {
    /// The current replay of `letter`.
    #[must_use]
    pub fn of(letter: &Letter) -> Self {
        Self { id: letter.message_id, number: letter.replays }
    }
}

/// Claims those of `selected` that are still dead and have not died again since they were selected; the others may belong to
/// another replay. Returns them in the order of `selected`; their `replays` include this replay.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn claim(store: &Store, selected: &[Selected], by: &str) -> Result<Vec<Letter>, Error> {
    store
        .transaction(async |transaction| {
            let ids = selected.iter().map(|selected| selected.id).collect();
            let mut letters = lock_letters(transaction, &ids).await?;
            let unchanged = |(letter, selected): &(Letter, &Selected)| {
                state_now(letter) == Some(State::Dead) && letter.deaths == selected.deaths
            };
            let locked = selected.iter().filter_map(|selected| Some((letters.remove(&selected.id)?, selected)));
            let mut claimed: Vec<Letter> = locked.filter(unchanged).map(|(letter, _)| letter).collect();
            claim_locked(transaction, &mut claimed, by, None).await?;
            Ok(claimed)
        })
        .await
}

/// Claims `letters`, which the transaction has locked and which are dead. `detail` goes into their history.
pub(in crate::store) async fn claim_locked(
    transaction: &Transaction,
    letters: &mut [Letter],
    by: &str,
    detail: Option<&str>,
) -> Result<(), Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let ids = || letters.iter().map(|letter| letter.message_id);
    Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Replaying.as_str()))
        .col_expr(Column::Replays, Expr::col(Column::Replays).add(1))
        .col_expr(Column::ReplayedAt, Expr::value(Utc::now()))
        .col_expr(Column::ReplayedBy, Expr::value(by))
        .col_expr(Column::ClaimedUntil, Expr::value(Utc::now() + CLAIM_VALIDITY))
        .filter(id_in(&transaction.connection, Column::MessageId, ids()))
        .exec(&transaction.connection)
        .await?;
    append_history(transaction, ids(), Some(by), Action::Replayed, detail).await?;
    for letter in letters {
        letter.replays += 1;
    }
    Ok(())
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
    let make_permanent = |is_claimed| {
        let unlocked = Query::select()
            .column(Column::MessageId)
            .from(Entity)
            .and_where(is_claimed)
            .and_where(Column::ClaimedUntil.is_not_null())
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .take();
        Entity::update_many()
            .col_expr(Column::ClaimedUntil, null_timestamp())
            .filter(Column::MessageId.in_subquery(unlocked))
    };
    store.transaction(async |transaction| update_claims(transaction, keys, make_permanent).await).await
}

/// Ends claims on letters whose messages were certainly not published: the letters are dead again.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`]. The claims then expire.
pub async fn release_claims(store: &Store, keys: &[ReplayKey]) -> Result<(), Error> {
    store.transaction(async |transaction| release_in(transaction, keys).await).await
}

/// As [`release_claims`], in a transaction of the caller's.
pub(in crate::store) async fn release_in(transaction: &Transaction, keys: &[ReplayKey]) -> Result<(), Error> {
    update_claims(transaction, keys, |is_claimed| {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Dead.as_str()))
            .col_expr(Column::ClaimedUntil, null_timestamp())
            .filter(is_claimed)
            .filter(Column::State.eq(State::Replaying.as_str()))
    })
    .await
}

/// Runs `update` for the letters of `keys`. Its argument is the condition that a letter is one of them and has not been
/// replayed again since; it runs once for each number of a replay.
async fn update_claims(
    transaction: &Transaction,
    keys: &[ReplayKey],
    update: impl Fn(Expr) -> UpdateMany<Entity>,
) -> Result<(), Error> {
    let connection = &transaction.connection;
    let mut ids_by_number = BTreeMap::<i32, Vec<Uuid>>::new();
    for key in keys {
        ids_by_number.entry(key.number).or_default().push(key.id);
    }
    for (number, ids) in &ids_by_number {
        let is_one = id_in(connection, Column::MessageId, ids.iter().copied());
        update(is_one.and(Column::Replays.eq(*number))).exec(connection).await?;
    }
    Ok(())
}

/// How each letter of `ids` that still exists is now.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn statuses(store: &Store, ids: &[Uuid]) -> Result<HashMap<Uuid, LetterNow>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let columns =
        [Column::MessageId, Column::State, Column::ClaimedUntil, Column::Replays, Column::Deaths, Column::Outcome];
    let is_selected = id_in(&store.connection(), Column::MessageId, ids.iter().copied());
    let select = Entity::find().select_only().columns(columns).filter(is_selected);
    // By position: looking up each column by its name costs more than the query.
    type Row = (Uuid, String, Option<DateTime<Utc>>, i32, i32, Option<String>);
    let rows: Vec<Row> = store.read(async |connection| Ok(select.into_tuple().all(connection).await?)).await?;
    let now = Utc::now();
    let status = |(id, state, claimed_until, replays, deaths, outcome): Row| {
        let state = state_at(&state, claimed_until, now);
        (id, LetterNow { state, replays, deaths, outcome: outcome.as_deref().and_then(Outcome::parse) })
    };
    Ok(rows.into_iter().map(status).collect())
}
