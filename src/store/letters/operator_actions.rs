//! What operators do to dead letters besides replaying them.

use chrono::{DateTime, Utc};
use entity::dead_letter::{Column, Entity};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::letter_queries::in_state;
use super::{Action, ReplayKey, Selected, append_history, end_letters, storable};
use crate::domain::dead_letter::State;
use crate::store::bulk_statements::id_in;
use crate::store::{Error, Store};

/// Maximum number of letters in one transaction: more could take longer than a statement or a transaction may.
const BATCH: usize = 1_000;

/// Discards those of `selected` that are still dead, and returns their number. Commits in batches, so after an error a part of
/// them may be discarded.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn discard(store: &Store, selected: &[Selected], reason: &str, by: &str) -> Result<u64, Error> {
    let mut discarded = 0;
    for selected in selected.chunks(BATCH) {
        discarded += store
            .transaction(async |transaction| {
                let connection = &transaction.connection;
                let dead = Entity::find()
                    .select_only()
                    .column(Column::MessageId)
                    .filter(id_in(connection, Column::MessageId, selected.iter().map(|selected| selected.id)))
                    .filter(in_state(State::Dead))
                    .order_by_asc(Column::MessageId)
                    .lock_exclusive();
                let ids: Vec<Uuid> = dead.into_tuple().all(connection).await?;
                if !ids.is_empty() {
                    end_letters(State::Discarded)
                        .col_expr(Column::Note, Expr::value(storable(reason)))
                        .filter(id_in(connection, Column::MessageId, ids.iter().copied()))
                        .exec(connection)
                        .await?;
                    append_history(transaction, ids.iter().copied(), Some(by), Action::Discarded, Some(reason)).await?;
                }
                Ok(ids.len() as u64)
            })
            .await?;
    }
    Ok(discarded)
}

/// Marks a claimed letter as edited into the message `into`, unless the claim has expired and the letter has changed since.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn mark_edited(store: &Store, key: ReplayKey, into: &str, by: &str) -> Result<(), Error> {
    store
        .transaction(async |transaction| {
            let updated = end_letters(State::Resolved)
                .col_expr(Column::Outcome, Expr::value("edited"))
                .filter(Column::MessageId.eq(key.id))
                .filter(Column::Replays.eq(key.number))
                .filter(Column::State.eq(State::Replaying.as_str()))
                .exec(&transaction.connection)
                .await?;
            if updated.rows_affected == 1 {
                append_history(transaction, [key.id], Some(by), Action::Edited, Some(&format!("into {into}"))).await?;
            }
            Ok(())
        })
        .await
}

/// Records in the history of `ids` that an operator saw or exported the letters, and why.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn record_access(
    store: &Store,
    ids: &[Uuid],
    action: Action,
    by: &str,
    reason: Option<&str>,
) -> Result<(), Error> {
    store
        .transaction(async |transaction| {
            append_history(transaction, ids.iter().copied(), Some(by), action, reason).await
        })
        .await
}

/// Whether [`prune`] deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneMode {
    /// It deletes.
    Delete,
    /// It only counts.
    Count,
}

/// Deletes the letters that were resolved or discarded before `before`, and returns their number. Their history stays: it says
/// who saw customer data. Commits in batches, so after an error a part of them may be deleted.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn prune(store: &Store, before: DateTime<Utc>, mode: PruneMode) -> Result<u64, Error> {
    let ended = Condition::all()
        .add(Column::State.is_in([State::Resolved.as_str(), State::Discarded.as_str()]))
        .add(Column::ResolvedAt.lt(before));
    if mode == PruneMode::Count {
        return store.read(async |connection| Ok(Entity::find().filter(ended).count(connection).await?)).await;
    }
    let (mut pruned, mut last) = (0, Uuid::nil());
    loop {
        // Each batch continues after the last id of the one before, so that no letter is read twice and the loop ends.
        let batch = Entity::find().select_only().column(Column::MessageId).filter(ended.clone());
        let batch = batch.filter(Column::MessageId.gt(last)).order_by_asc(Column::MessageId).limit(BATCH as u64);
        let ids: Vec<Uuid> = store.read(async |connection| Ok(batch.into_tuple().all(connection).await?)).await?;
        let Some(last_id) = ids.last() else { return Ok(pruned) };
        last = *last_id;
        // No lock is needed: a letter that has ended never changes again.
        pruned += store
            .transaction(async |transaction| {
                let connection = &transaction.connection;
                let letters = id_in(connection, Column::MessageId, ids.iter().copied());
                Ok(Entity::delete_many().filter(letters).exec(connection).await?.rows_affected)
            })
            .await?;
    }
}
