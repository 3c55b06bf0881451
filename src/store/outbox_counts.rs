//! How much is in the outbox.

use chrono::{DateTime, Utc};
use entity::outbox_event::{Column, Entity};
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, QuerySelect};

use super::outbox_claims::NEW;
use super::{Error, Store};

/// What is in the outbox.
#[derive(Clone, Copy, Debug, Default, FromQueryResult)]
pub struct Backlog {
    /// The number of events.
    pub pending: i64,
    /// When the oldest was appended.
    pub oldest: Option<DateTime<Utc>>,
    /// When the oldest of those was appended that were never deferred.
    pub oldest_new: Option<DateTime<Utc>>,
}

/// Counts the outbox.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn backlog(store: &Store) -> Result<Backlog, Error> {
    let created_if_new: Expr = Expr::case(Expr::cust(NEW), Expr::col(Column::CreatedAt)).into();
    let select = Entity::find()
        .select_only()
        .expr_as(Column::Id.count(), "pending")
        .expr_as(Column::CreatedAt.min(), "oldest")
        .expr_as(Func::min(created_if_new), "oldest_new");
    let backlog = store.read(async |connection| Ok(select.into_model().one(connection).await?)).await?;
    Ok(backlog.unwrap_or_default())
}

/// The number of events that were refused or not answered in time, and wait to be published again.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn deferred(store: &Store) -> Result<u64, Error> {
    store
        .read(async |connection| Ok(Entity::find().filter(Column::RetryAt.is_not_null()).count(connection).await?))
        .await
}
