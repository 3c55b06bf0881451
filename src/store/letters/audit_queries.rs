//! What operators have done to letters and links, out of their history: for the audit.

use entity::dead_letter_history::{Column, Entity};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Action, HistoryEntry};
use crate::store::{Error, Store};

/// Which entries to list. What is `None` matches every entry that names an operator.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// By this operator.
    pub by: Option<String>,
    /// Of this kind.
    pub action: Option<Action>,
    /// Written before the entry with this id.
    pub before: Option<i64>,
}

/// At most `limit` entries that match, newest first.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn audit(store: &Store, filter: &AuditFilter, limit: u64) -> Result<Vec<HistoryEntry>, Error> {
    let condition = Condition::all()
        .add(Column::By.is_not_null())
        .add_option(filter.by.as_deref().map(|by| Column::By.eq(by)))
        .add_option(filter.action.map(|action| Column::Action.eq(action.as_str())))
        .add_option(filter.before.map(|before| Column::Id.lt(before)));
    let entries = Entity::find().filter(condition).order_by_desc(Column::Id).limit(limit);
    store.read(async |connection| Ok(entries.all(connection).await?)).await
}
