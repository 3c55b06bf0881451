//! Claims letters for a replay. The claim and its note in `replay_letters` are one transaction, so a process that takes the replay
//! over knows which claims are the replay's own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use entity::replay_letter::{Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, UpdateMany};

use super::{Replay, lease_name, lock, state, write};
use crate::domain::outcome::Outcome;
use crate::domain::replay::{FrozenLetter, LetterNow, LetterOutcome, ReplayState};
use crate::store::bulk_statements::id_in;
use crate::store::letters::{Letter, ReplayKey, Selected, batches, claim_locked, lock_letters, release_in, state_now};
use crate::store::{Error, Store, Transaction, leases};

/// Which letters of a replay are to be claimed.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// The next `limit` ones that are not claimed.
    Next {
        /// At which positions. Without a lower bound, PostgreSQL may read every letter that has ended.
        positions: Range<i32>,
        /// The maximum number of letters.
        limit: usize,
    },
    /// Those at these positions, whose claims have expired. What has changed since is left out.
    Expired(&'a [i32]),
}

/// A letter that was claimed for a replay.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its position in the replay.
    pub position: i32,
    /// The letter; its `replays` include this replay.
    pub letter: Letter,
}

/// The result of a request for claims.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// These letters are claimed; the others of the part were skipped. The replay is as it is now.
    Letters(Vec<Claim>, Box<Replay>),
    /// No letter of the part is left.
    Exhausted,
    /// The replay is not running, or another process works on it.
    Refused,
}

/// Claims a part of the letters of the replay `id` for `holder`, who must have its lease. Letters that have changed since they were
/// selected are skipped. At most 16 MiB of bodies are claimed at once.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn claim(store: &Store, id: i64, holder: &str, part: Part<'_>) -> Result<Claimed, Error> {
    store
        .transaction(async |transaction| {
            let Some(mut replay) = lock(transaction, id).await? else { return Ok(Claimed::Refused) };
            let is_holder = leases::is_held_by(transaction, &lease_name(id), holder).await?;
            if state(&replay) != Some(ReplayState::Running) || !is_holder {
                return Ok(Claimed::Refused);
            }
            let rows = rows(transaction, id, &part).await?;
            if rows.is_empty() {
                return Ok(Claimed::Exhausted);
            }
            let (mut claims, changed) = divide(transaction, &rows).await?;
            let by = replay.changed_by.as_ref().unwrap_or(&replay.created_by);
            claim_letters(transaction, &replay, &mut claims, by).await?;
            if matches!(part, Part::Next { .. }) {
                let skip = Expr::value(LetterOutcome::Skipped.as_str());
                update(transaction, id, &changed, |update| update.col_expr(Column::Outcome, skip)).await?;
                replay.replayed += count(&claims);
                replay.skipped += count(&changed);
                write(transaction, &replay).await?;
            }
            Ok(Claimed::Letters(claims, Box::new(replay)))
        })
        .await
}

/// Ends claims whose messages were certainly not published. The letters are dead again, and the next ones of the replay. Claims that
/// are no longer the current ones of their letters are left alone.
///
/// # Errors
/// As [`claim`]. The claims then expire.
pub async fn release(store: &Store, id: i64, claims: &[Claim]) -> Result<(), Error> {
    if claims.is_empty() {
        return Ok(());
    }
    store
        .transaction(async |transaction| {
            let Some(mut replay) = lock(transaction, id).await? else { return Ok(()) };
            let keys: Vec<ReplayKey> = claims.iter().map(|claim| ReplayKey::of(&claim.letter)).collect();
            release_in(transaction, &keys).await?;
            let mut by_number = BTreeMap::<i32, Vec<i32>>::new();
            for claim in claims {
                by_number.entry(claim.letter.replays).or_default().push(claim.position);
            }
            for (number, positions) in by_number {
                // Another process may have claimed a letter anew since.
                let unclaim = |update: UpdateMany<Entity>| {
                    update
                        .col_expr(Column::Replays, Expr::col(Column::Claimed))
                        .col_expr(Column::Claimed, Expr::value(None::<i32>))
                        .filter(Column::Claimed.eq(number))
                };
                let released = update(transaction, id, &positions, unclaim).await?;
                replay.replayed -= released;
            }
            write(transaction, &replay).await
        })
        .await
}

/// The rows of `part`, in order.
async fn rows(transaction: &Transaction, id: i64, part: &Part<'_>) -> Result<Vec<Model>, Error> {
    let connection = &transaction.connection;
    let select = open_letters(id).order_by_asc(Column::Position);
    let select = match part {
        Part::Next { positions, limit } => select
            .filter(Column::Claimed.is_null())
            .filter(Column::Position.gte(positions.start).and(Column::Position.lt(positions.end)))
            .limit(u64::try_from(*limit).unwrap_or(u64::MAX)),
        Part::Expired(positions) => select.filter(Column::Claimed.is_not_null()).filter(is_at(connection, positions)),
    };
    let mut rows = select.all(connection).await?;
    let selected: Vec<Selected> = rows.iter().map(selected).collect();
    let fitting = batches(&selected, usize::MAX).next().map_or(0, <[Selected]>::len);
    rows.truncate(fitting);
    Ok(rows)
}

/// Divides `rows` into letters to claim and positions of letters that have changed. Locks the letters.
async fn divide(transaction: &Transaction, rows: &[Model]) -> Result<(Vec<Claim>, Vec<i32>), Error> {
    let ids: BTreeSet<_> = rows.iter().map(|row| row.message_id).collect();
    let mut letters: BTreeMap<_, Letter> = lock_letters(transaction, &ids).await?;
    let (mut claims, mut changed) = (Vec::new(), Vec::new());
    for row in rows {
        match letters.remove(&row.message_id).filter(|letter| frozen(row).may_be_claimed(now(letter))) {
            Some(letter) => claims.push(Claim { position: row.position, letter }),
            None => changed.push(row.position),
        }
    }
    Ok((claims, changed))
}

async fn claim_letters(
    transaction: &Transaction,
    replay: &Replay,
    claims: &mut [Claim],
    by: &str,
) -> Result<(), Error> {
    let mut letters: Vec<Letter> = claims.iter_mut().map(|claim| std::mem::take(&mut claim.letter)).collect();
    claim_locked(transaction, &mut letters, by, Some(&format!("replay {}", replay.id))).await?;
    for (claim, letter) in claims.iter_mut().zip(letters) {
        claim.letter = letter;
    }
    let positions: Vec<i32> = claims.iter().map(|claim| claim.position).collect();
    let number = Func::coalesce([Expr::col(Column::Claimed), Expr::col(Column::Replays)]);
    let number = Expr::from(number).add(1);
    update(transaction, replay.id, &positions, |update| update.col_expr(Column::Claimed, number)).await?;
    Ok(())
}

/// Updates the rows at `positions` of the replay `id` that have no outcome yet, and returns their number.
pub(super) async fn update(
    transaction: &Transaction,
    id: i64,
    positions: &[i32],
    set: impl FnOnce(UpdateMany<Entity>) -> UpdateMany<Entity>,
) -> Result<i32, Error> {
    if positions.is_empty() {
        return Ok(0);
    }
    let connection = &transaction.connection;
    let update = set(Entity::update_many()).filter(Column::ReplayId.eq(id)).filter(is_at(connection, positions));
    let updated = update.filter(Column::Outcome.is_null()).exec(connection).await?;
    Ok(i32::try_from(updated.rows_affected).unwrap_or(i32::MAX))
}

/// Whether a row is at one of `positions`. The range, which follows from them, bounds what PostgreSQL reads: before it has analysed the
/// table, it expects few open letters, and compares each of them with all positions.
fn is_at(connection: &impl ConnectionTrait, positions: &[i32]) -> Expr {
    let (first, last) = (positions.iter().min().copied(), positions.iter().max().copied());
    let range = Column::Position.between(first.unwrap_or_default(), last.unwrap_or_default());
    id_in(connection, Column::Position, positions.to_vec()).and(range)
}

/// The rows of the replay `id` that have no outcome yet.
pub(super) fn open_letters(id: i64) -> Select<Entity> {
    Entity::find().filter(Column::ReplayId.eq(id)).filter(Column::Outcome.is_null())
}

pub(super) fn frozen(row: &Model) -> FrozenLetter {
    FrozenLetter { replays: row.replays, deaths: row.deaths, claimed: row.claimed }
}

fn selected(row: &Model) -> Selected {
    Selected { id: row.message_id, deaths: row.deaths, replays: row.replays, body_bytes: row.body_bytes }
}

fn now(letter: &Letter) -> LetterNow {
    let outcome = letter.outcome.as_deref().and_then(Outcome::parse);
    LetterNow { state: state_now(letter), replays: letter.replays, deaths: letter.deaths, outcome }
}

/// A number of rows as the type of a column.
fn count<T>(rows: &[T]) -> i32 {
    i32::try_from(rows.len()).unwrap_or(i32::MAX)
}
