//! Deletes replays that ended long ago.

use chrono::{DateTime, Utc};
use entity::{lease, replay, replay_letter};
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::lease_name;
use crate::store::letters::PruneMode;
use crate::store::{Error, Store};

/// Maximum rows of `replay_letters` in one transaction: more could take longer than a statement may.
const BATCH: i32 = 10_000;

/// Deletes the replays that ended before `before` with their letters' rows, and returns their number. Commits in batches, so after an
/// error a part of them may be deleted.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn prune(store: &Store, before: DateTime<Utc>, mode: PruneMode) -> Result<u64, Error> {
    use replay::{Column, Entity};
    let ended = Condition::all().add(Column::EndedAt.lt(before));
    if mode == PruneMode::Count {
        return store.read(async |connection| Ok(Entity::find().filter(ended).count(connection).await?)).await;
    }
    let mut pruned = 0;
    loop {
        let oldest = Entity::find().filter(ended.clone()).order_by_asc(Column::Id).limit(1);
        let Some(oldest) = store.read(async |connection| Ok(oldest.one(connection).await?)).await? else {
            return Ok(pruned);
        };
        delete_letters(store, oldest.id, oldest.letters).await?;
        pruned += store
            .transaction(async |transaction| {
                let connection = &transaction.connection;
                // The lease of a process that was killed.
                lease::Entity::delete_by_id(lease_name(oldest.id)).exec(connection).await?;
                Ok(Entity::delete_by_id(oldest.id).exec(connection).await?.rows_affected)
            })
            .await?;
    }
}

async fn delete_letters(store: &Store, id: i64, letters: i32) -> Result<(), Error> {
    use replay_letter::{Column, Entity};
    for first in (0..letters).step_by(BATCH as usize) {
        let batch = Column::Position.between(first, first.saturating_add(BATCH - 1));
        let delete = Entity::delete_many().filter(Column::ReplayId.eq(id)).filter(batch);
        store
            .transaction(async |transaction| {
                delete.exec(&transaction.connection).await?;
                Ok(())
            })
            .await?;
    }
    Ok(())
}
