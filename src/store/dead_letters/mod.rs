//! `dead_letters` and their history. What changes a letter is told in its history, in the same transaction.

mod batches;
mod claims;
mod operator_actions;
mod queries;
mod record_deaths;
mod resolve;

use chrono::{DateTime, Utc};
use entity::{dead_letter, dead_letter_history};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait};
use uuid::Uuid;

use super::columns::Columns;
use super::{Error, Transaction};
pub use batches::batches;
pub use claims::{Claimed, ReplayKey, claim, confirm_claims, release_claims, statuses};
pub use operator_actions::{Prune, discard, mark_edited, prune, record_access};
pub use queries::{
    DeadLetterCounts, FailureGroup, Filter, Selected, counts, fetch, find, history, list, select, select_dead,
    state_now, stats,
};
pub use record_deaths::record;
pub use resolve::{ResolvedMessage, resolve};

/// A dead letter, as the table has it.
pub type Letter = dead_letter::Model;
/// Something that happened to a dead letter, as the table has it.
pub type HistoryEntry = dead_letter_history::Model;

/// The longest text kept of what a stranger may have written, in bytes.
const LONGEST_TEXT: usize = 1024;

/// What can happen to a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It died, or died again.
    Died,
    /// It was sent in again.
    Replayed,
    /// It was handled after all.
    Resolved,
    /// A message with another body took its place.
    Edited,
    /// It was given up.
    Discarded,
    /// Somebody looked at what is masked.
    Revealed,
    /// Somebody took a copy.
    Exported,
}

impl Action {
    /// Its name in the table.
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
}

/// A line of history that is not written yet.
struct Line {
    message_id: Uuid,
    at: DateTime<Utc>,
    by: Option<String>,
    action: &'static str,
    detail: Option<String>,
}

impl Line {
    fn new(id: Uuid, at: DateTime<Utc>, by: Option<&str>, action: Action, detail: Option<&str>) -> Self {
        Self { message_id: id, at, by: by.map(clean), action: action.as_str(), detail: detail.map(clean) }
    }

    fn to_entry(&self) -> dead_letter_history::ActiveModel {
        dead_letter_history::ActiveModel {
            id: NotSet,
            message_id: Set(self.message_id),
            at: Set(self.at),
            by: Set(self.by.clone()),
            action: Set(self.action.to_owned()),
            detail: Set(self.detail.clone()),
        }
    }
}

/// Writes the same line for each of several letters.
async fn append_history(
    transaction: &Transaction,
    ids: impl IntoIterator<Item = Uuid>,
    by: Option<&str>,
    action: Action,
    detail: Option<&str>,
) -> Result<(), Error> {
    let now = Utc::now();
    let lines: Vec<Line> = ids.into_iter().map(|id| Line::new(id, now, by, action, detail)).collect();
    write(transaction, &lines).await
}

async fn write(transaction: &Transaction, lines: &[Line]) -> Result<(), Error> {
    use dead_letter_history::{Column, Entity};
    if lines.is_empty() {
        return Ok(());
    }
    if transaction.0.get_database_backend() == DbBackend::Postgres {
        let insert = Columns::of(lines)
            .array(Column::MessageId, |line| line.message_id)
            .array(Column::At, |line| line.at)
            .texts(Column::By, |line| line.by.as_deref())
            .texts(Column::Action, |line| Some(line.action))
            .texts(Column::Detail, |line| line.detail.as_deref())
            .insert_into(Entity)?;
        transaction.0.execute(&insert).await?;
        return Ok(());
    }
    // Six values each.
    for lines in lines.chunks(super::MAX_BINDS / 6) {
        Entity::insert_many(lines.iter().map(Line::to_entry)).exec_without_returning(&transaction.0).await?;
    }
    Ok(())
}

/// Reads and writes the way recording does, for the probe to take back.
///
/// # Errors
/// When it cannot be done.
pub(in crate::store) async fn probe(transaction: &Transaction) -> Result<(), Error> {
    record_deaths::known(transaction, &[Uuid::nil()].into()).await?;
    append_history(transaction, [Uuid::nil()], None, Action::Died, None).await
}

/// Text that both databases can hold: without U+0000, and not too long.
fn clean(text: &str) -> String {
    let text = text.replace('\0', "\u{fffd}");
    text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned()
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
