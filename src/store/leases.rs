//! `leases`: lets one process at a time do a piece of work. A lease ends by itself if its holder is killed.
//!
//! Expiry is compared with the clock of the process that asks. If clocks differ by more than [`VALIDITY`], two processes may
//! hold the lease at once, so the work must be such that this does no harm. A lease that ends later than one can was written by a clock
//! that was ahead, and is free: else no process could take it until then.

use std::collections::HashMap;
use std::time::Duration;

use chrono::Utc;
use entity::lease::{ActiveModel, Column, Entity};
use rustix::system::uname;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::{Error, Store, Transaction};

/// How long a lease is valid after it was taken or renewed.
pub const VALIDITY: Duration = Duration::from_secs(30);

/// The result of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The lease is the caller's until [`VALIDITY`] has passed.
    Taken,
    /// Another holder has it: its name.
    HeldBy(String),
}

/// Takes the lease `name` for `holder` if it is free, has expired, ends later than 2 x [`VALIDITY`] from now, or is the holder's own.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn acquire(store: &Store, name: &str, holder: &str) -> Result<Acquired, Error> {
    store.transaction(async |transaction| acquire_in(transaction, name, holder).await).await
}

/// As [`acquire`], in a transaction of the caller's.
pub(super) async fn acquire_in(transaction: &Transaction, name: &str, holder: &str) -> Result<Acquired, Error> {
    let lease = ActiveModel {
        name: Set(name.to_owned()),
        holder: Set(holder.to_owned()),
        expires_at: Set(Utc::now() + VALIDITY),
    };
    let expires_at = || Expr::col((Entity, Column::ExpiresAt));
    let is_free = expires_at().lt(Utc::now()).or(expires_at().gt(Utc::now() + 2 * VALIDITY));
    let is_own = Expr::col((Entity, Column::Holder)).eq(Expr::col((Alias::new("excluded"), Column::Holder)));
    let if_free = OnConflict::column(Column::Name)
        .update_columns([Column::Holder, Column::ExpiresAt])
        .action_and_where(is_free.or(is_own))
        .to_owned();
    let insert = Entity::insert(lease).on_conflict(if_free);
    if insert.exec_without_returning(&transaction.connection).await? == 1 {
        return Ok(Acquired::Taken);
    }
    let current = Entity::find_by_id(name).one(&transaction.connection).await?;
    // It was deleted since: the next attempt takes it.
    Ok(Acquired::HeldBy(current.map_or_else(|| "a process that has just ended".to_owned(), |lease| lease.holder)))
}

/// Whether `holder` has the lease, be it expired, as long as no other process has taken it.
pub(super) async fn is_held_by(transaction: &Transaction, name: &str, holder: &str) -> Result<bool, Error> {
    let current = Entity::find_by_id(name).one(&transaction.connection).await?;
    Ok(current.is_some_and(|lease| lease.holder == holder))
}

/// The holders of those of the leases `names` that are valid, by name.
///
/// # Errors
/// As [`acquire`].
pub async fn holders(store: &Store, names: &[String]) -> Result<HashMap<String, String>, Error> {
    let now = Utc::now();
    let select = Entity::find()
        .filter(Column::Name.is_in(names.iter().map(String::as_str)))
        .filter(Column::ExpiresAt.between(now, now + 2 * VALIDITY));
    let leases = store.read(async |connection| Ok(select.all(connection).await?)).await?;
    Ok(leases.into_iter().map(|lease| (lease.name, lease.holder)).collect())
}

/// A new name for a holder in this process: its number and host for people, and an id that tells apart two holders in one process.
#[must_use]
pub fn new_holder() -> String {
    let host = uname();
    let (host, id) = (host.nodename().to_string_lossy(), Uuid::new_v4().simple());
    format!("process {} on {host} ({id})", std::process::id())
}

/// Makes the lease valid for [`VALIDITY`] from now. Returns whether `holder` still has it.
///
/// # Errors
/// As [`acquire`].
pub async fn renew(store: &Store, name: &str, holder: &str) -> Result<bool, Error> {
    let update = Entity::update_many()
        .col_expr(Column::ExpiresAt, Expr::value(Utc::now() + VALIDITY))
        .filter(Column::Name.eq(name))
        .filter(Column::Holder.eq(holder));
    store.transaction(async |transaction| Ok(update.exec(&transaction.connection).await?.rows_affected == 1)).await
}

/// Ends the lease, if `holder` still has it.
///
/// # Errors
/// As [`acquire`]. The lease then expires.
pub async fn release(store: &Store, name: &str, holder: &str) -> Result<(), Error> {
    let delete = Entity::delete_many().filter(Column::Name.eq(name)).filter(Column::Holder.eq(holder));
    store
        .transaction(async |transaction| {
            delete.exec(&transaction.connection).await?;
            Ok(())
        })
        .await
}
