//! A replay as the table sees it: letters are claimed, and their claims kept or given back.
//!
//! A claim is good for a while only, so that a replay which is killed between claiming and publishing leaves nothing behind.
//! `replays` counts the lives of a letter, and whoever changes it names the life it means.
//!
//! Letters are looked up by id alone, and their state is looked at here: so there is one index that serves, and no planner
//! can prefer another, and read every open letter for each few hundred that are asked for.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::Utc;
use entity::dead_letter::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::queries::state_now;
use super::{Action, Letter, Selected, append_history};
use crate::domain::dead_letter::State;
use crate::store::id_in::id_in;
use crate::store::{Error, Store, Transaction};

/// How long a claim is good.
const CLAIM_LASTS: Duration = Duration::from_secs(30);

/// A letter that this replay has, in the life that it has begun.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The letter, with `replays` already counted up.
    pub letter: Letter,
}

impl Claimed {
    /// Which life that is.
    #[must_use]
    pub fn key(&self) -> ReplayKey {
        ReplayKey { id: self.letter.message_id, replays: self.letter.replays }
    }
}

/// A letter in one of its lives, which its number of replays tells from those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayKey {
    /// The letter.
    pub id: Uuid,
    /// How often it had been replayed.
    pub replays: i32,
}

/// Claims what is still as it was chosen: dead, and not once more since. Others replaying the same are left what they have.
///
/// # Errors
/// When the database is away.
pub async fn claim(store: &Store, chosen: &[Selected], by: &str) -> Result<Vec<Claimed>, Error> {
    let transaction = store.begin().await?;
    let letters = Entity::find()
        .filter(id_in(&transaction.0, Column::MessageId, chosen.iter().map(|chosen| chosen.id)))
        .order_by_asc(Column::MessageId)
        .lock_exclusive()
        .all(&transaction.0)
        .await?;
    let mut letters: HashMap<Uuid, Letter> = letters.into_iter().map(|letter| (letter.message_id, letter)).collect();
    // In the order they were chosen: oldest death first.
    let is_still =
        |letter: &Letter, chosen: &Selected| state_now(letter) == Some(State::Dead) && letter.deaths == chosen.deaths;
    let still = |chosen: &Selected| letters.remove(&chosen.id).filter(|letter| is_still(letter, chosen));
    let mut claimed: Vec<Claimed> = chosen.iter().filter_map(still).map(|letter| Claimed { letter }).collect();
    let ids: Vec<Uuid> = claimed.iter().map(|claimed| claimed.letter.message_id).collect();
    if !ids.is_empty() {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Replaying.as_str()))
            .col_expr(Column::Replays, Expr::col(Column::Replays).add(1))
            .col_expr(Column::ReplayedAt, Expr::value(Utc::now()))
            .col_expr(Column::ReplayedBy, Expr::value(by))
            .col_expr(Column::ClaimedUntil, Expr::value(Utc::now() + CLAIM_LASTS))
            .filter(id_in(&transaction.0, Column::MessageId, ids.iter().copied()))
            .exec(&transaction.0)
            .await?;
        append_history(&transaction, ids, Some(by), Action::Replayed, None).await?;
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
pub async fn confirm_claims(store: &Store, lives: &[ReplayKey]) -> Result<(), Error> {
    if lives.is_empty() {
        return Ok(());
    }
    let transaction = store.begin().await?;
    for (replays, ids) in by_replays(lives) {
        let free = Query::select()
            .column(Column::MessageId)
            .from(Entity)
            .and_where(still_in(&transaction, replays, ids))
            .and_where(Column::ClaimedUntil.is_not_null())
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .take();
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
pub async fn release_claims(store: &Store, lives: &[ReplayKey]) -> Result<(), Error> {
    if lives.is_empty() {
        return Ok(());
    }
    let transaction = store.begin().await?;
    for (replays, ids) in by_replays(lives) {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Dead.as_str()))
            .col_expr(Column::ClaimedUntil, no_claim())
            .filter(still_in(&transaction, replays, ids))
            .filter(Column::State.eq(State::Replaying.as_str()))
            .exec(&transaction.0)
            .await?;
    }
    transaction.commit().await
}

/// The ids of letters, by how often each had been replayed.
fn by_replays(lives: &[ReplayKey]) -> BTreeMap<i32, Vec<Uuid>> {
    let mut ids = BTreeMap::<i32, Vec<Uuid>>::new();
    for life in lives {
        ids.entry(life.replays).or_default().push(life.id);
    }
    ids
}

fn still_in(transaction: &Transaction, replays: i32, ids: Vec<Uuid>) -> Expr {
    id_in(&transaction.0, Column::MessageId, ids).and(Column::Replays.eq(replays))
}

pub(super) fn no_claim() -> Expr {
    Expr::value(None::<chrono::DateTime<Utc>>)
}

/// Where letters stand: state, outcome and life of each that is still there.
///
/// # Errors
/// When the database is away.
pub async fn statuses(store: &Store, ids: &[Uuid]) -> Result<Vec<(Uuid, String, Option<String>, i32)>, Error> {
    let columns = [Column::MessageId, Column::State, Column::Outcome, Column::Replays];
    let asked_for = id_in(&store.connection, Column::MessageId, ids.iter().copied());
    let select = Entity::find().select_only().columns(columns).filter(asked_for);
    Ok(select.into_tuple().all(&store.connection).await?)
}
