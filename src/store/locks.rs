//! Rows that another session has locked at this moment, so that they cannot be written.

use std::collections::HashSet;

use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::{Error, Store};

/// Those of `ids` whose rows of the table `E` are locked. A row that is being inserted is not among them, since no other session
/// can see it. Always empty on SQLite, which has no row locks.
pub(super) async fn locked<E: EntityTrait>(
    store: &Store,
    column: E::Column,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<HashSet<Uuid>, Error> {
    let ids: Vec<Uuid> = ids.into_iter().collect();
    if store.is_sqlite() || ids.is_empty() {
        return Ok(HashSet::new());
    }
    let select = || E::find().select_only().column(column).filter(column.eq_any(ids.clone()));
    store
        .transaction(async |transaction| {
            let all: Vec<Uuid> = select().into_tuple().all(&transaction.connection).await?;
            let free = select().lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked);
            let free: Vec<Uuid> = free.into_tuple().all(&transaction.connection).await?;
            let free: HashSet<Uuid> = free.into_iter().collect();
            Ok(all.into_iter().filter(|id| !free.contains(id)).collect())
        })
        .await
}
