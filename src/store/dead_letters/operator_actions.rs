//! What an operator does to dead letters besides replaying them.

use chrono::{DateTime, Utc};
use entity::dead_letter::{Column, Entity};
use entity::dead_letter_history;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::queries::in_state;
use super::{Action, Claimed, Selected, append_history};
use crate::domain::dead_letter::State;
use crate::store::id_in::id_in;
use crate::store::{Error, MAX_BINDS, Store};

/// Letters that are pruned in one transaction.
const PRUNED_AT_ONCE: u64 = 1_000;

/// Gives up what is still dead of `chosen`; how many that were.
///
/// # Errors
/// When the database is away.
pub async fn discard(store: &Store, chosen: &[Selected], reason: &str, by: &str) -> Result<u64, Error> {
    let mut discarded = 0;
    for chosen in chosen.chunks(MAX_BINDS / 2) {
        let transaction = store.begin().await?;
        let still = Entity::find()
            .select_only()
            .column(Column::MessageId)
            .filter(id_in(&transaction.0, Column::MessageId, chosen.iter().map(|chosen| chosen.id)))
            .filter(in_state(State::Dead))
            .order_by_asc(Column::MessageId)
            .lock_exclusive();
        let ids: Vec<Uuid> = still.into_tuple().all(&transaction.0).await?;
        if !ids.is_empty() {
            Entity::update_many()
                .col_expr(Column::State, Expr::value(State::Discarded.as_str()))
                .col_expr(Column::Note, Expr::value(super::clean(reason)))
                .col_expr(Column::ResolvedAt, Expr::value(Utc::now()))
                .col_expr(Column::ClaimedUntil, Expr::value(None::<DateTime<Utc>>))
                .filter(id_in(&transaction.0, Column::MessageId, ids.iter().copied()))
                .exec(&transaction.0)
                .await?;
            append_history(&transaction, ids.iter().copied(), Some(by), Action::Discarded, Some(reason)).await?;
        }
        transaction.commit().await?;
        discarded += ids.len() as u64;
    }
    Ok(discarded)
}

/// Marks a claimed letter as edited into another message, if the claim is still ours.
///
/// # Errors
/// When the database is away.
pub async fn mark_edited(store: &Store, claimed: &Claimed, into: &str, by: &str) -> Result<(), Error> {
    let id = claimed.letter.message_id;
    let transaction = store.begin().await?;
    let updated = Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Resolved.as_str()))
        .col_expr(Column::Outcome, Expr::value("edited"))
        .col_expr(Column::ResolvedAt, Expr::value(Utc::now()))
        .col_expr(Column::ClaimedUntil, Expr::value(None::<DateTime<Utc>>))
        .filter(Column::MessageId.eq(id))
        .filter(Column::Replays.eq(claimed.letter.replays))
        .filter(Column::State.eq(State::Replaying.as_str()))
        .exec(&transaction.0)
        .await?;
    if updated.rows_affected == 1 {
        append_history(&transaction, [id], Some(by), Action::Edited, Some(&format!("into {into}"))).await?;
    }
    transaction.commit().await
}

/// Writes into the history of letters that somebody saw or took what is in them.
///
/// # Errors
/// When the database is away.
pub async fn record_access(store: &Store, ids: &[Uuid], action: Action, by: &str) -> Result<(), Error> {
    let transaction = store.begin().await?;
    append_history(&transaction, ids.iter().copied(), Some(by), action, None).await?;
    transaction.commit().await
}

/// Whether pruning deletes, or only counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// Deletes.
    Delete,
    /// Counts.
    Count,
}

/// Deletes what was resolved or discarded before `before`, with its history; how many letters that were. Each lot is a
/// transaction of its own: all of them at once could take longer than PostgreSQL lets a statement take.
///
/// # Errors
/// When the database is away.
pub async fn prune(store: &Store, before: DateTime<Utc>, what: Prune) -> Result<u64, Error> {
    let ended = Condition::all()
        .add(Column::State.is_in([State::Resolved.as_str(), State::Discarded.as_str()]))
        .add(Column::ResolvedAt.lt(before));
    if what == Prune::Count {
        return Ok(Entity::find().filter(ended).count(&store.connection).await?);
    }
    let (mut deleted, mut last) = (0, Uuid::nil());
    loop {
        let transaction = store.begin().await?;
        // On from the last one, so that nothing is looked at twice and there is an end.
        let lot = Entity::find().select_only().column(Column::MessageId).filter(ended.clone());
        let lot = lot.filter(Column::MessageId.gt(last)).order_by_asc(Column::MessageId).limit(PRUNED_AT_ONCE);
        let ids: Vec<Uuid> = lot.into_tuple().all(&transaction.0).await?;
        let Some(further) = ids.last() else { return Ok(deleted) };
        last = *further;
        let history = id_in(&transaction.0, dead_letter_history::Column::MessageId, ids.iter().copied());
        dead_letter_history::Entity::delete_many().filter(history).exec(&transaction.0).await?;
        // What has ended stays ended: nobody can have brought it back meanwhile.
        let letters = id_in(&transaction.0, Column::MessageId, ids.iter().copied());
        deleted += Entity::delete_many().filter(letters).exec(&transaction.0).await?.rows_affected;
        transaction.commit().await?;
    }
}
