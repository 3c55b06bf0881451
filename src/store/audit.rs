//! What operators have done to letters, links and replays, out of the two histories: for the audit.

use chrono::{DateTime, Utc};
use entity::{dead_letter_history, replay_history};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::letters::{Action, HistoryEntry};
use super::replays::{ReplayAction, ReplayEntry};
use super::{Error, Store};

/// A kind of deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// To a letter or a link.
    Letter(Action),
    /// To a replay.
    Replay(ReplayAction),
}

impl AuditAction {
    /// What operators do.
    pub fn all() -> impl Iterator<Item = Self> {
        Action::OF_OPERATORS.into_iter().map(Self::Letter).chain(ReplayAction::ALL.into_iter().map(Self::Replay))
    }

    /// The name, as the columns `action` have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Letter(action) => action.as_str(),
            Self::Replay(action) => action.as_str(),
        }
    }
}

/// What something was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A letter, by its message id, or a link, by its entity id.
    Letter(Uuid),
    /// A replay.
    Replay(i64),
}

/// Something that an operator has done.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// What, as [`AuditAction::as_str`] names it.
    pub action: String,
    /// To what.
    pub subject: Subject,
    /// The reason, and further words.
    pub detail: Option<String>,
}

/// A place in the audit: the entries before it have smaller ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditPosition {
    /// In the history of letters.
    pub letters: i64,
    /// In the history of replays.
    pub replays: i64,
}

/// Which entries to list. What is `None` matches every entry that names an operator.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// By this operator.
    pub by: Option<String>,
    /// Done to this.
    pub subject: Option<Subject>,
    /// Done at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Done before this time.
    pub until: Option<DateTime<Utc>>,
    /// Of this kind.
    pub action: Option<AuditAction>,
    /// Before this place.
    pub before: Option<AuditPosition>,
}

/// A part of the audit.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Where to go on; `None` after the last entry.
    pub next: Option<AuditPosition>,
}

/// At most `limit` entries that match, newest first.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn audit(store: &Store, filter: &AuditFilter, limit: usize) -> Result<AuditPage, Error> {
    // One more of each tells whether there are more.
    let read = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut letters = of_letters(store, filter, read).await?.into_iter().peekable();
    let mut replays = of_replays(store, filter, read).await?.into_iter().peekable();
    let mut entries = Vec::new();
    while entries.len() < limit {
        let replay_is_newer = |letter: &HistoryEntry| replays.peek().is_some_and(|replay| replay.at > letter.at);
        let entry = match letters.peek().map(replay_is_newer) {
            Some(false) => letters.next().map(AuditEntry::from),
            Some(true) | None => replays.next().map(AuditEntry::from),
        };
        match entry {
            Some(entry) => entries.push(entry),
            None => break,
        }
    }
    let next = AuditPosition {
        letters: letters.peek().map_or(0, |entry| entry.id + 1),
        replays: replays.peek().map_or(0, |entry| entry.id + 1),
    };
    let has_more = letters.peek().is_some() || replays.peek().is_some();
    Ok(AuditPage { entries, next: has_more.then_some(next) })
}

async fn of_letters(store: &Store, filter: &AuditFilter, limit: u64) -> Result<Vec<HistoryEntry>, Error> {
    use dead_letter_history::{Column, Entity};
    let action = match filter.action {
        None => None,
        Some(AuditAction::Letter(action)) => Some(action),
        Some(AuditAction::Replay(_)) => return Ok(Vec::new()),
    };
    let id = match filter.subject {
        None => None,
        Some(Subject::Letter(id)) => Some(id),
        Some(Subject::Replay(_)) => return Ok(Vec::new()),
    };
    let condition = Condition::all()
        .add(Column::By.is_not_null())
        .add_option(filter.by.as_deref().map(|by| Column::By.eq(by)))
        .add_option(action.map(|action| Column::Action.eq(action.as_str())))
        .add_option(id.map(|id| Column::MessageId.eq(id)))
        .add_option(filter.since.map(|since| Column::At.gte(since)))
        .add_option(filter.until.map(|until| Column::At.lt(until)))
        .add_option(filter.before.map(|before| Column::Id.lt(before.letters)));
    let entries = Entity::find().filter(condition).order_by_desc(Column::Id).limit(limit);
    store.read(async |connection| Ok(entries.all(connection).await?)).await
}

async fn of_replays(store: &Store, filter: &AuditFilter, limit: u64) -> Result<Vec<ReplayEntry>, Error> {
    use replay_history::{Column, Entity};
    let action = match filter.action {
        None => None,
        Some(AuditAction::Replay(action)) => Some(action),
        Some(AuditAction::Letter(_)) => return Ok(Vec::new()),
    };
    let id = match filter.subject {
        None => None,
        Some(Subject::Replay(id)) => Some(id),
        Some(Subject::Letter(_)) => return Ok(Vec::new()),
    };
    let condition = Condition::all()
        .add_option(filter.by.as_deref().map(|by| Column::By.eq(by)))
        .add_option(action.map(|action| Column::Action.eq(action.as_str())))
        .add_option(id.map(|id| Column::ReplayId.eq(id)))
        .add_option(filter.since.map(|since| Column::At.gte(since)))
        .add_option(filter.until.map(|until| Column::At.lt(until)))
        .add_option(filter.before.map(|before| Column::Id.lt(before.replays)));
    let entries = Entity::find().filter(condition).order_by_desc(Column::Id).limit(limit);
    store.read(async |connection| Ok(entries.all(connection).await?)).await
}

impl From<HistoryEntry> for AuditEntry {
    fn from(entry: HistoryEntry) -> Self {
        let HistoryEntry { message_id, at, by, action, detail, .. } = entry;
        Self { at, by: by.unwrap_or_default(), action, subject: Subject::Letter(message_id), detail }
    }
}

impl From<ReplayEntry> for AuditEntry {
    fn from(entry: ReplayEntry) -> Self {
        let ReplayEntry { replay_id, at, by, action, detail, .. } = entry;
        Self { at, by, action, subject: Subject::Replay(replay_id), detail }
    }
}
