//! What one entry of Lean's list is, and by which id a repeated one is recognised.

use bytes::Bytes;
use uuid::Uuid;

use crate::domain::listed::{ListedWebhook, Source, id_of_bytes};
use crate::lean::Query;

/// An entry.
pub(super) struct Entry {
    /// The id of the message that it would be sent as; for what is not a webhook, one of its bytes.
    pub(super) id: Uuid,
    pub(super) content: Content,
}

/// What an entry holds.
pub(super) enum Content {
    Webhook(ListedWebhook),
    /// An entity that was created at another time: Lean selects by whole days.
    OutsideWindow,
    /// Not a webhook: so many bytes.
    Garbage(usize),
}

impl Entry {
    /// Reads `bytes`, which were listed for `window`.
    pub(super) fn read(window: &Query, bytes: Bytes) -> Self {
        let (id, length) = (id_of_bytes(&bytes), bytes.len());
        let (webhook, is_outside) = match window.source {
            Source::Events => (ListedWebhook::from_event(bytes), false),
            Source::Entities => match ListedWebhook::from_entity(&bytes) {
                Some((webhook, at)) => (Some(webhook), at.to_micros() <= window.from || at.to_micros() > window.to),
                None => (None, false),
            },
        };
        match webhook {
            Some(webhook) if is_outside => Self { id: webhook.message_id, content: Content::OutsideWindow },
            Some(webhook) => Self { id: webhook.message_id, content: Content::Webhook(webhook) },
            None => Self { id, content: Content::Garbage(length) },
        }
    }
}
