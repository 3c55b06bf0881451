//! The evidence that a verdict is based on.

use entity::{bank_link, dead_letter};
use serde_json::Value;
use tokio::time::Instant;

use crate::ledger::Post;
use crate::row_images::RowImage;

/// A copy of a message that was published to a retry tier.
pub(crate) struct RetryCopy {
    pub(crate) message_id: String,
    pub(crate) attempt: i64,
    pub(crate) body: Vec<u8>,
}

/// What was sent, and what is on the broker and in the database when the system is idle.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) posts: Vec<Post>,
    pub(crate) rows: Vec<bank_link::Model>,
    pub(crate) letters: Vec<dead_letter::Model>,
    pub(crate) images: Vec<RowImage>,
    /// Every event that was published so far.
    pub(crate) events: Vec<Value>,
    /// Every retry copy that was published so far.
    pub(crate) retries: Vec<RetryCopy>,
    /// When the work queue was deleted, with the messages on it.
    pub(crate) queue_deletions: Vec<Instant>,
    /// Whether a delivery may be deferred: the database can fail to write one row while it writes others, because another session
    /// has locked the row or a statement is cancelled. Not with SQLite, which has one writer.
    pub(crate) may_defer: bool,
}
