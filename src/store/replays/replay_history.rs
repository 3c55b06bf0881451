//! `replay_history`: what operators did to replays. Each entry is written in the transaction that does it, and outlives the replay.

use chrono::Utc;
use entity::replay_history::{Column, Entity, Model};
use sea_orm::ActiveValue::NotSet;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};

use super::Replay;
use crate::store::letters::storable;
use crate::store::{Error, Store, Transaction};

/// A row of `replay_history`.
pub type ReplayEntry = Model;

/// Maximum entries of [`replay_history`].
const MAX_ENTRIES: u64 = 100;

/// What an operator did to a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayAction {
    /// It was made, and its letters go.
    Started,
    /// No further letter goes.
    Paused,
    /// Its letters go again.
    Resumed,
    /// Its letters that have not gone stay dead.
    Cancelled,
}

impl ReplayAction {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Started, Self::Paused, Self::Resumed, Self::Cancelled];

    /// The value of the column `action`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What an operator does to a replay.
pub(super) struct Deed<'a> {
    pub(super) action: ReplayAction,
    pub(super) by: &'a str,
    /// The reason, and what else should be on record.
    pub(super) detail: Option<String>,
}

/// The start of `replay`.
pub(super) fn started(replay: &Replay) -> Deed<'_> {
    let reason = replay.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let detail = format!("{} letter{}{reason}", replay.letters, if replay.letters == 1 { "" } else { "s" });
    Deed { action: ReplayAction::Started, by: &replay.created_by, detail: Some(detail) }
}

/// Records what was done to the replay `id`.
pub(super) async fn append(transaction: &Transaction, id: i64, deed: &Deed<'_>) -> Result<(), Error> {
    let entry = Model {
        replay_id: id,
        at: Utc::now(),
        by: storable(deed.by),
        action: deed.action.as_str().to_owned(),
        detail: deed.detail.as_deref().map(storable),
        ..Model::default()
    };
    let mut row = entry.into_active_model().reset_all();
    row.id = NotSet;
    row.insert(&transaction.connection).await?;
    Ok(())
}

/// The last 100 entries about the replay `id`, the oldest first.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn replay_history(store: &Store, id: i64) -> Result<Vec<ReplayEntry>, Error> {
    let entries = Entity::find().filter(Column::ReplayId.eq(id)).order_by_desc(Column::Id).limit(MAX_ENTRIES);
    let mut entries = store.read(async |connection| Ok(entries.all(connection).await?)).await?;
    entries.reverse();
    Ok(entries)
}
