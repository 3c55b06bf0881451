//! What one entry of Lean's list is, and by which id a repeated one is recognised.

use bytes::Bytes;
use uuid::Uuid;

use crate::domain::listed::{ListedWebhook, Source, id_of_bytes};
use crate::lean::{Page, Query};

/// An entry.
pub(super) struct Entry {
    /// An id of its bytes; of an entity, of the webhook made from it, because some of its members change. Not of its `event_id`:
    /// two different webhooks that share one are both accounted for.
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
    /// Reads the entries of `page`, which were listed for `window`.
    pub(super) fn read_all(window: &Query, page: &Page) -> Vec<Self> {
        page.entries.iter().map(|bytes| Self::read(window, bytes.clone())).collect()
    }

    fn read(window: &Query, bytes: Bytes) -> Self {
        let (mut id, length) = (id_of_bytes(&bytes), bytes.len());
        let (webhook, is_outside) = match window.source {
            Source::Events => (ListedWebhook::from_event(bytes), false),
            Source::Entities => match ListedWebhook::from_entity(&bytes) {
                Some((webhook, at)) => {
                    id = id_of_bytes(&webhook.body);
                    (Some(webhook), at.to_micros() <= window.from || at.to_micros() > window.to)
                }
                None => (None, false),
            },
        };
        match webhook {
            Some(_) if is_outside => Self { id, content: Content::OutsideWindow },
            Some(webhook) => Self { id, content: Content::Webhook(webhook) },
            None => Self { id, content: Content::Garbage(length) },
        }
    }
}
