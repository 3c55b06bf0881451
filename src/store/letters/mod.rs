//! `dead_letters` and `dead_letter_history`. Each change of a letter is recorded in its history in the same transaction.
//!
//! docs/CONTRACT.md#7-dead-letters describes the states of a letter and what a replay does.

mod letter_pages;
mod letter_queries;
mod listed_letters;
mod operator_actions;
mod record_deaths;
mod replay_claims;
mod resolve_replayed;
mod selection_summary;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use entity::{dead_letter, dead_letter_history};
use sea_orm::sea_query::Expr;
use sea_orm::{ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, UpdateMany};
use uuid::Uuid;

use super::bulk_statements::{BulkInsert, id_in};
use super::{Error, Store, Transaction, locks};
use crate::domain::dead_letter::State;
pub use letter_pages::{Position, page};
pub use letter_queries::{
    FailureGroup, Filter, Selected, batches, history, load_one, load_selected, select, select_dead, state_now, stats,
};
pub use listed_letters::{ListedKeys, of_listed};
pub use operator_actions::{PruneMode, discard, mark_edited, prune, record_access};
pub use record_deaths::record;
pub use replay_claims::{ReplayKey, claim, confirm_claims, release_claims, statuses};
pub(super) use replay_claims::{claim_locked, release_in};
pub use resolve_replayed::{ResolvedMessage, resolve};
pub use selection_summary::{Summary, summarize_dead};

/// A row of `dead_letters`.
pub type Letter = dead_letter::Model;
/// A row of `dead_letter_history`.
pub type HistoryEntry = dead_letter_history::Model;

/// Maximum length of a stored text that a message or an operator supplied, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// What happened to a dead letter, for its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its message died, for the first time or again.
    Died,
    /// It was replayed.
    Replayed,
    /// Its replayed message was handled.
    Resolved,
    /// A message with an edited body replaced it.
    Edited,
    /// An operator discarded it.
    Discarded,
    /// An operator saw the masked parts of its body.
    Revealed,
    /// An operator exported it.
    Exported,
}

impl Action {
    /// What operators do.
    pub const OF_OPERATORS: [Self; 5] = [Self::Replayed, Self::Edited, Self::Discarded, Self::Revealed, Self::Exported];

    /// The value of the column `action`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Died => "died",
            Self::Replayed => "replayed",
            Self::Resolved => "resolved",
            Self::Edited => "edited",
            Self::Discarded => "discarded",
            Self::Revealed => "revealed",
            Self::Exported => "exported",
        }
    }

    /// A history entry to insert; the database assigns its id.
    fn entry(self, message_id: Uuid, at: DateTime<Utc>, by: Option<String>, detail: Option<String>) -> HistoryEntry {
        HistoryEntry { message_id, at, by, action: self.as_str().to_owned(), detail, ..HistoryEntry::default() }
    }
}

/// Inserts one and the same history entry for each of `ids`.
async fn append_history(
    transaction: &Transaction,
    ids: impl IntoIterator<Item = Uuid>,
    by: Option<&str>,
    action: Action,
    detail: Option<&str>,
) -> Result<(), Error> {
    let (at, by, detail) = (Utc::now(), by.map(storable), detail.map(storable));
    let entry = |message_id| action.entry(message_id, at, by.clone(), detail.clone());
    insert_history(transaction, &ids.into_iter().map(entry).collect::<Vec<_>>()).await
}

async fn insert_history(transaction: &Transaction, entries: &[HistoryEntry]) -> Result<(), Error> {
    use dead_letter_history::{Column, Entity};
    let connection = &transaction.connection;
    let inserts = BulkInsert::new(connection.get_database_backend(), entries)
        .values(Column::MessageId, |entry| entry.message_id)
        .values(Column::At, |entry| entry.at)
        .texts(Column::By, |entry| entry.by.as_deref())
        .texts(Column::Action, |entry| Some(&entry.action))
        .texts(Column::Detail, |entry| entry.detail.as_deref())
        .into_statements(Entity, |_| ())?;
    for insert in inserts {
        connection.execute_raw(insert).await?;
    }
    Ok(())
}

/// Reads and writes as [`record`] does, for a probe that rolls back.
pub(in crate::store) async fn probe(transaction: &Transaction) -> Result<(), Error> {
    lock_letters(transaction, &[Uuid::nil()].into()).await?;
    append_history(transaction, [Uuid::nil()], None, Action::Died, None).await
}

/// The existing letters of `ids`; on PostgreSQL locked until the transaction ends.
pub(super) async fn lock_letters(
    transaction: &Transaction,
    ids: &BTreeSet<Uuid>,
) -> Result<BTreeMap<Uuid, Letter>, Error> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let letters = locking(transaction, ids).all(&transaction.connection).await?;
    Ok(letters.into_iter().map(|letter| (letter.message_id, letter)).collect())
}

/// Selects the letters of `ids`; on PostgreSQL it locks them until the transaction ends, in the order of their ids.
fn locking(transaction: &Transaction, ids: &BTreeSet<Uuid>) -> Select<dead_letter::Entity> {
    use dead_letter::{Column, Entity};
    Entity::find()
        .filter(id_in(&transaction.connection, Column::MessageId, ids.iter().copied()))
        .order_by_asc(Column::MessageId)
        .lock_exclusive()
}

/// Those of `ids` whose letters another session has locked at this moment: see `store/locks.rs`.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn locked(store: &Store, ids: impl IntoIterator<Item = Uuid>) -> Result<HashSet<Uuid>, Error> {
    locks::locked::<dead_letter::Entity>(store, dead_letter::Column::MessageId, ids).await
}

/// Whether a letter with these columns is still open and `replay`, the `x-replay` of a message, is its current replay.
fn is_current(replays: i32, state: &str, replay: u32) -> bool {
    saturating_i32(replay) == replays && State::parse(state).is_some_and(State::is_open)
}

/// An update that ends letters, without its condition and its reason.
fn end_letters(state: State) -> UpdateMany<dead_letter::Entity> {
    use dead_letter::{Column, Entity};
    Entity::update_many()
        .col_expr(Column::State, Expr::value(state.as_str()))
        .col_expr(Column::ResolvedAt, Expr::value(Utc::now()))
        .col_expr(Column::ClaimedUntil, null_timestamp())
}

/// `text` in a form that both databases can store: without U+0000, and cut at [`MAX_TEXT_BYTES`].
pub(super) fn storable(text: &str) -> String {
    let text = text.replace('\0', "\u{fffd}");
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}

/// A counter of a message as the type of its column.
fn saturating_i32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The null of a timestamp column.
fn null_timestamp() -> Expr {
    Expr::value(None::<DateTime<Utc>>)
}
