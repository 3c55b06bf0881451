//! A replay as the table sees it: claimed, kept or released, and resolved by the worker.
//!
//! A claim is good for a while only, so that a replay which is killed between claiming and publishing leaves nothing behind.
//! `replays` counts the lives of a letter, and whoever changes it names the life it means.
//!
//! Letters are looked up by id alone, and their state is looked at here: with both in the query SQLite prefers the index by
//! state, and reads every letter of that state for each few hundred that are asked for.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::Utc;
use entity::dead_letter::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Query, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::select::is_dead;
use super::{Action, Chosen, Letter, tell};
use crate::domain::dead_letter::{State, derived_id};
use crate::store::{Error, Store, Transaction};

/// How long a claim is good.
const CLAIM: Duration = Duration::from_secs(30);

/// A letter that this replay has, in the life that it has begun.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The letter, with `replays` already counted up.
    pub letter: Letter,
}

/// What the worker made of a replayed message.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The message's id on the wire.
    pub wire_id: String,
    /// Its body.
    pub body: bytes::Bytes,
    /// Which replay it was.
    pub replay: u32,
    /// `applied`, `stale` or `ignored`.
    pub outcome: &'static str,
}

/// Claims what is still as it was chosen: dead, and not once more since. Others replaying the same are left what they have.
///
/// # Errors
/// When the database is away.
pub async fn claim(store: &Store, chosen: &[Chosen], by: &str) -> Result<Vec<Claimed>, Error> {
    let transaction = store.begin().await?;
    let letters = Entity::find()
        .filter(Column::MessageId.is_in(chosen.iter().map(|chosen| chosen.id)))
        .order_by_asc(Column::MessageId)
        .lock_exclusive()
        .all(&transaction.0)
        .await?;
    let mut letters: HashMap<Uuid, Letter> = letters.into_iter().map(|letter| (letter.message_id, letter)).collect();
    // In the order they were chosen: oldest death first.
    let is_still = |letter: &Letter, chosen: &Chosen| is_dead(letter) && letter.deaths == chosen.deaths;
    let still = |chosen: &Chosen| letters.remove(&chosen.id).filter(|letter| is_still(letter, chosen));
    let mut claimed: Vec<Claimed> = chosen.iter().filter_map(still).map(|letter| Claimed { letter }).collect();
    let ids: Vec<Uuid> = claimed.iter().map(|claimed| claimed.letter.message_id).collect();
    if !ids.is_empty() {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Replaying.as_str()))
            .col_expr(Column::Replays, Expr::col(Column::Replays).add(1))
            .col_expr(Column::ReplayedAt, Expr::value(Utc::now()))
            .col_expr(Column::ReplayedBy, Expr::value(by))
            .col_expr(Column::ClaimedUntil, Expr::value(Utc::now() + CLAIM))
            .filter(Column::MessageId.is_in(ids.iter().copied()))
            .exec(&transaction.0)
            .await?;
        tell(&transaction, &ids, Some(by), Action::Replayed, None).await?;
    }
    transaction.commit().await?;
    for claimed in &mut claimed {
        claimed.letter.replays += 1;
    }
    Ok(claimed)
}

/// Makes claims permanent, for messages that the broker has. Those that have ended have no claim to keep, and those that the
/// worker holds just now are about to end: so it waits for nobody, and cannot meet the worker in a deadlock. Should the worker
/// take its transaction back, such a claim runs out, and its letter can be replayed once more, which changes nothing.
///
/// # Errors
/// When the database is away: the claims run out, and a message that is resolved all the same resolves its letter.
pub async fn keep(store: &Store, claimed: &[&Claimed]) -> Result<(), Error> {
    let transaction = store.begin().await?;
    for (life, ids) in by_life(claimed) {
        let free = Query::select()
            .column(Column::MessageId)
            .from(Entity)
            .and_where(still_in(life, ids))
            .and_where(Column::ClaimedUntil.is_not_null())
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .take();
        // The state is not named: writing it again would write the indexes that it is in again.
        Entity::update_many()
            .col_expr(Column::ClaimedUntil, no_claim())
            .filter(Column::MessageId.in_subquery(free))
            .exec(&transaction.0)
            .await?;
    }
    transaction.commit().await
}

/// Gives back claims on letters that certainly were not published.
///
/// # Errors
/// When the database is away: the claims run out.
pub async fn release(store: &Store, claimed: &[&Claimed]) -> Result<(), Error> {
    let transaction = store.begin().await?;
    for (life, ids) in by_life(claimed) {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Dead.as_str()))
            .col_expr(Column::ClaimedUntil, no_claim())
            .filter(still_in(life, ids))
            .filter(Column::State.eq(State::Replaying.as_str()))
            .exec(&transaction.0)
            .await?;
    }
    transaction.commit().await
}

/// The ids of claimed letters, by the life that each was claimed in.
fn by_life(claimed: &[&Claimed]) -> BTreeMap<i32, Vec<Uuid>> {
    let mut lives = BTreeMap::<i32, Vec<Uuid>>::new();
    for claimed in claimed {
        lives.entry(claimed.letter.replays).or_default().push(claimed.letter.message_id);
    }
    lives
}

fn still_in(life: i32, ids: Vec<Uuid>) -> SimpleExpr {
    Column::MessageId.is_in(ids).and(Column::Replays.eq(life))
}

/// Marks the letters of replayed messages resolved, in the transaction that handled the messages. A message of an earlier
/// life finds another number of replays, and changes nothing.
///
/// # Errors
/// When the database is away.
pub async fn resolve(transaction: &Transaction, resolutions: &[Resolution]) -> Result<(), Error> {
    if resolutions.is_empty() {
        return Ok(());
    }
    let by_letter: HashMap<Uuid, &Resolution> =
        resolutions.iter().flat_map(|resolution| resolution.letter_ids().map(move |id| (id, resolution))).collect();
    let letters = Entity::find()
        .filter(Column::MessageId.is_in(by_letter.keys().copied()))
        .order_by_asc(Column::MessageId)
        .lock_exclusive()
        .all(&transaction.0)
        .await?;
    let outcome_of = |letter: &Letter| by_letter.get(&letter.message_id).filter(|r| r.means(letter)).map(|r| r.outcome);
    for outcome in ["applied", "stale", "ignored"] {
        let of_outcome = letters.iter().filter(|letter| outcome_of(letter) == Some(outcome));
        let ids: Vec<Uuid> = of_outcome.map(|letter| letter.message_id).collect();
        if ids.is_empty() {
            continue;
        }
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Resolved.as_str()))
            .col_expr(Column::Outcome, Expr::value(outcome))
            .col_expr(Column::ResolvedAt, Expr::value(Utc::now()))
            .col_expr(Column::ClaimedUntil, no_claim())
            .filter(Column::MessageId.is_in(ids.iter().copied()))
            .exec(&transaction.0)
            .await?;
        tell(transaction, &ids, None, Action::Resolved, Some(outcome)).await?;
    }
    Ok(())
}

impl Resolution {
    /// The letter is kept under the message's own id, or under one derived from it.
    fn letter_ids(&self) -> impl Iterator<Item = Uuid> {
        [Uuid::parse_str(&self.wire_id).ok(), Some(derived_id(&self.wire_id, &self.body))].into_iter().flatten()
    }

    /// Whether that is this message's letter, in the life that the message is of, and still open. An id that another body
    /// has too does not make it so.
    fn means(&self, letter: &Letter) -> bool {
        i32::try_from(self.replay).is_ok_and(|replay| replay == letter.replays)
            && State::parse(&letter.state).is_some_and(State::is_open)
            && letter.body == self.body
    }
}

fn no_claim() -> SimpleExpr {
    Expr::value(None::<chrono::DateTime<Utc>>)
}

/// Where letters stand: state, outcome and life of each that is still there.
///
/// # Errors
/// When the database is away.
pub async fn standings(store: &Store, ids: &[Uuid]) -> Result<Vec<(Uuid, String, Option<String>, i32)>, Error> {
    let columns = [Column::MessageId, Column::State, Column::Outcome, Column::Replays];
    let select = Entity::find().select_only().columns(columns).filter(Column::MessageId.is_in(ids.iter().copied()));
    Ok(select.into_tuple().all(&store.connection).await?)
}
