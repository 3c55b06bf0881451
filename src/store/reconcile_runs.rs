//! `reconcile_runs`: what each comparison with Lean's own list has found, and up to when the comparison is complete.

use chrono::{DateTime, TimeDelta, Utc};
use entity::reconcile_run::{ActiveModel, Column, Entity, Model};
use sea_orm::ActiveValue::NotSet;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, UpdateMany};
use tracing::warn;

use super::{Error, Store, Transaction};
use crate::domain::listed::Source;

/// A row of `reconcile_runs`.
pub type Run = Model;

/// Runs are deleted when they are this old: Lean itself remembers nothing older.
const RETENTION: TimeDelta = TimeDelta::days(90);
/// A complete instant that is later than this long after now is deleted: the clock of the process that wrote it was ahead.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// The failure of a run that never ended.
const ABANDONED: &str = "the process was killed, or lost its lease";

/// How many listed webhooks came to which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// A bank link already holds what they carry.
    pub known: u64,
    /// They were missing and are on the work queue now.
    pub sent: u64,
    /// They are dead letters.
    pub dead: u64,
    /// They are not about a bank link.
    pub ignored: u64,
}

/// Inserts a run over the time after `from` and up to `to` of the list `source`, and returns its id. Runs that never ended are ended,
/// those older than 90 days deleted, and a complete instant in the future is forgotten. Only the holder of the lease may call this.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn begin(store: &Store, source: Source, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<i64, Error> {
    store
        .transaction(async |transaction| {
            let connection = &transaction.connection;
            let abandoned = Entity::update_many()
                .col_expr(Column::EndedAt, Expr::value(Utc::now()))
                .col_expr(Column::Failure, Expr::value(ABANDONED))
                .filter(Column::EndedAt.is_null());
            abandoned.exec(connection).await?;
            forget_future(transaction).await?;
            prune(transaction, source).await?;
            let run = Model { source: source.name().to_owned(), started_at: Utc::now(), from, to, ..Model::default() };
            let run = ActiveModel { id: NotSet, ..ActiveModel::from(run) };
            Ok(run.insert(connection).await?.id)
        })
        .await
}

/// Records how far the run `id` has come: the counts so far and, once a part of it is complete, up to when.
///
/// # Errors
/// As [`begin`].
pub async fn record_progress(
    store: &Store,
    id: i64,
    counts: &Counts,
    complete_until: Option<DateTime<Utc>>,
) -> Result<(), Error> {
    let update = with_progress(id, counts, complete_until);
    store
        .transaction(async |transaction| {
            update.exec(&transaction.connection).await?;
            Ok(())
        })
        .await
}

/// Ends the run `id`.
///
/// # Errors
/// As [`begin`].
pub async fn end(
    store: &Store,
    id: i64,
    counts: &Counts,
    complete_until: Option<DateTime<Utc>>,
    failure: Option<String>,
) -> Result<(), Error> {
    let update = with_progress(id, counts, complete_until)
        .col_expr(Column::EndedAt, Expr::value(Utc::now()))
        .col_expr(Column::Failure, Expr::value(failure));
    store
        .transaction(async |transaction| {
            update.exec(&transaction.connection).await?;
            Ok(())
        })
        .await
}

/// Deletes complete instants in the future. Else they would count once they have come.
async fn forget_future(transaction: &Transaction) -> Result<(), Error> {
    let update = Entity::update_many()
        .col_expr(Column::CompleteUntil, Expr::value(None::<DateTime<Utc>>))
        .filter(Column::CompleteUntil.gt(Utc::now() + CLOCK_TOLERANCE));
    let runs = update.exec(&transaction.connection).await?.rows_affected;
    if runs > 0 {
        warn!(runs, "runs were complete until a time in the future, so a clock was ahead; they no longer count");
    }
    Ok(())
}

/// Deletes the runs over `source` that began more than 90 days ago, except one with the latest complete instant.
async fn prune(transaction: &Transaction, source: Source) -> Result<(), Error> {
    let connection = &transaction.connection;
    let latest: Option<DateTime<Utc>> = until_latest(source).into_tuple().one(connection).await?;
    let superseded = Column::CompleteUntil.is_null().or(Column::CompleteUntil.lt(latest));
    let is_old = Column::StartedAt.lt(Utc::now() - RETENTION);
    let is_of_source = Column::Source.eq(source.name());
    Entity::delete_many().filter(is_of_source).filter(is_old).filter(superseded).exec(connection).await?;
    Ok(())
}

fn with_progress(id: i64, counts: &Counts, complete_until: Option<DateTime<Utc>>) -> UpdateMany<Entity> {
    let number = |count: u64| Expr::value(i64::try_from(count).unwrap_or(i64::MAX));
    let update = Entity::update_many()
        .col_expr(Column::Known, number(counts.known))
        .col_expr(Column::Sent, number(counts.sent))
        .col_expr(Column::Dead, number(counts.dead))
        .col_expr(Column::Ignored, number(counts.ignored))
        .filter(Column::Id.eq(id));
    match complete_until {
        Some(until) => update.col_expr(Column::CompleteUntil, Expr::value(until)),
        None => update,
    }
}

/// Up to when everything in the list `source` is accounted for; `None` if no run was complete yet. It is never in the future.
///
/// # Errors
/// As [`begin`].
pub async fn complete_until(store: &Store, source: Source) -> Result<Option<DateTime<Utc>>, Error> {
    let select = until_latest(source);
    store.read(async |connection| Ok(select.into_tuple().one(connection).await?)).await
}

fn until_latest(source: Source) -> Select<Entity> {
    Entity::find()
        .select_only()
        .column(Column::CompleteUntil)
        .filter(Column::Source.eq(source.name()))
        .filter(Column::CompleteUntil.lte(Utc::now()))
        .order_by_desc(Column::CompleteUntil)
        .limit(1)
}

/// The last `limit` runs, the newest first.
///
/// # Errors
/// As [`begin`].
pub async fn latest(store: &Store, limit: u64) -> Result<Vec<Run>, Error> {
    let select = Entity::find().order_by_desc(Column::StartedAt).order_by_desc(Column::Id).limit(limit);
    store.read(async |connection| Ok(select.all(connection).await?)).await
}
