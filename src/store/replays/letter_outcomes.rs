//! Collects the outcomes of a replay's letters, which the worker writes to `dead_letters`.
//!
//! Any process may collect at any time, also of a replay that is paused or cancelled: an outcome is counted in the transaction that
//! writes it to `replay_letters`, and only once.

use std::collections::BTreeMap;

use entity::replay_letter::{Column, Entity, Model};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, UpdateMany};
use uuid::Uuid;

use super::claim_letters::{frozen, open_letters, update};
use super::state_changes::end_if_complete;
use super::{Replay, lock, write};
use crate::domain::outcome::Outcome;
use crate::domain::replay::{LetterOutcome, LetterProgress};
use crate::store::letters::statuses;
use crate::store::{Error, Store};

/// Maximum letters that are looked at together.
const MAX_COLLECTED: u64 = 1_000;

/// Positions by what became of their letters, and the number under which those were claimed.
type Ended = BTreeMap<(LetterOutcome, Option<i32>), Vec<i32>>;

/// What [`collect`] found.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// How many letters have an outcome now that had none before.
    pub ended: usize,
    /// The positions of letters whose claims have expired.
    pub expired: Vec<i32>,
    /// The position after which to go on; `None` after the last letter without an outcome.
    pub next: Option<i32>,
}

/// Looks at up to 1,000 letters of the replay `id` that were claimed and have no outcome, those after the position `after`, and
/// records the outcomes that they have now. Ends the replay once every letter has one.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn collect(store: &Store, id: i64, after: Option<i32>) -> Result<Collected, Error> {
    let select = open_letters(id)
        .filter(Column::Claimed.is_not_null())
        .filter(Column::Position.gt(after.unwrap_or(-1)))
        .order_by_asc(Column::Position)
        .limit(MAX_COLLECTED);
    let rows: Vec<Model> = store.read(async |connection| Ok(select.all(connection).await?)).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.message_id).collect();
    let letters = statuses(store, &ids).await?;
    let (mut expired, mut ended) = (Vec::new(), Ended::new());
    for row in &rows {
        match frozen(row).progress(letters.get(&row.message_id).copied()) {
            LetterProgress::UnderWay => {}
            LetterProgress::ClaimExpired => expired.push(row.position),
            LetterProgress::Ended(outcome) => ended.entry((outcome, row.claimed)).or_default().push(row.position),
        }
    }
    let is_full = rows.len() as u64 == MAX_COLLECTED;
    let next = rows.last().filter(|_| is_full).map(|row| row.position);
    let ended = if ended.is_empty() { 0 } else { record(store, id, &ended).await? };
    Ok(Collected { ended, expired, next })
}

/// Records outcomes, and returns how many of the letters had none before.
async fn record(store: &Store, id: i64, outcomes: &Ended) -> Result<usize, Error> {
    store
        .transaction(async |transaction| {
            let Some(mut replay) = lock(transaction, id).await? else { return Ok(0) };
            let mut recorded = 0;
            for ((outcome, claimed), positions) in outcomes {
                // Another process may have recorded some of them since they were read, or claimed them again.
                let set = |update: UpdateMany<Entity>| {
                    let update = update.col_expr(Column::Outcome, Expr::value(outcome.as_str()));
                    update.filter(Column::Claimed.eq(*claimed))
                };
                let ended = update(transaction, id, positions, set).await?;
                add(&mut replay, *outcome, ended);
                recorded += usize::try_from(ended).unwrap_or(0);
            }
            end_if_complete(&mut replay);
            write(transaction, &replay).await?;
            Ok(recorded)
        })
        .await
}

fn add(replay: &mut Replay, outcome: LetterOutcome, letters: i32) {
    match outcome {
        LetterOutcome::Resolved(Outcome::Applied) => replay.applied += letters,
        LetterOutcome::Resolved(Outcome::Stale) => replay.stale += letters,
        LetterOutcome::Resolved(Outcome::Ignored) => replay.ignored += letters,
        LetterOutcome::Dead => replay.dead += letters,
        LetterOutcome::Skipped => {
            replay.replayed -= letters;
            replay.skipped += letters;
        }
    }
}

/// The ids of up to `limit` letters of the replay `id` that died again, in the order in which they were replayed.
///
/// # Errors
/// As [`collect`].
pub async fn dead_again(store: &Store, id: i64, limit: u64) -> Result<Vec<Uuid>, Error> {
    let dead = Entity::find()
        .select_only()
        .column(Column::MessageId)
        .filter(Column::ReplayId.eq(id))
        .filter(Column::Outcome.eq(LetterOutcome::Dead.as_str()))
        .order_by_asc(Column::Position)
        .limit(limit);
    store.read(async |connection| Ok(dead.into_tuple().all(connection).await?)).await
}
