//! What an operator does to dead letters besides replaying them.

use chrono::{DateTime, Utc};
use entity::dead_letter::{Column, Entity};
use entity::dead_letter_history;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::select::in_state;
use super::{Action, Chosen, Claimed, tell};
use crate::domain::dead_letter::State;
use crate::store::among::among;
use crate::store::{Error, MOST_BINDS, Store};

/// Gives up what is still dead of `chosen`; how many that were.
///
/// # Errors
/// When the database is away.
pub async fn discard(store: &Store, chosen: &[Chosen], reason: &str, by: &str) -> Result<u64, Error> {
    let mut discarded = 0;
    for chosen in chosen.chunks(MOST_BINDS / 2) {
        let transaction = store.begin().await?;
        let still = Entity::find()
            .select_only()
            .column(Column::MessageId)
            .filter(among(&transaction.0, Column::MessageId, chosen.iter().map(|chosen| chosen.id)))
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
                .filter(among(&transaction.0, Column::MessageId, ids.iter().copied()))
                .exec(&transaction.0)
                .await?;
            tell(&transaction, ids.iter().copied(), Some(by), Action::Discarded, Some(reason)).await?;
        }
        transaction.commit().await?;
        discarded += ids.len() as u64;
    }
    Ok(discarded)
}

/// Marks a claimed letter as edited into another message; whether the claim was still ours.
///
/// # Errors
/// When the database is away.
pub async fn edited(store: &Store, claimed: &Claimed, into: &str, by: &str) -> Result<bool, Error> {
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
    tell(&transaction, [id], Some(by), Action::Edited, Some(&format!("into {into}"))).await?;
    transaction.commit().await?;
    Ok(updated.rows_affected == 1)
}

/// Writes into the history of letters that somebody saw or took what is in them.
///
/// # Errors
/// When the database is away.
pub async fn remember(store: &Store, ids: &[Uuid], action: Action, by: &str) -> Result<(), Error> {
    let transaction = store.begin().await?;
    tell(&transaction, ids.iter().copied(), Some(by), action, None).await?;
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

/// Deletes what was resolved or discarded before `before`, with its history; how many letters that were.
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
    let transaction = store.begin().await?;
    let ids = Query::select().column(Column::MessageId).from(Entity).cond_where(ended.clone()).take();
    dead_letter_history::Entity::delete_many()
        .filter(dead_letter_history::Column::MessageId.in_subquery(ids))
        .exec(&transaction.0)
        .await?;
    let deleted = Entity::delete_many().filter(ended).exec(&transaction.0).await?;
    transaction.commit().await?;
    Ok(deleted.rows_affected)
}
