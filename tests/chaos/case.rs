//! The case that is judged: the evidence, which post a message comes from, and what its timing excuses.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::evidence::Evidence;
use crate::ledger::{Answer, Post};
use crate::load::Webhook;

/// How long a stalled worker may hold the webhook that creates a link, while reconnects of that link use up their attempts.
const MAX_STALL: Duration = Duration::from_secs(120);
/// How long before the deletion of a queue a webhook may have been posted that was still on it, in the hands of a worker or on its way
/// back from a retry: the fault before may have stopped all of them for nearly a minute.
const DELETED_AFTER: Duration = Duration::from_secs(120);
/// How long after the deletion there may be no queue for a webhook.
const UNROUTED_AFTER: Duration = Duration::from_secs(30);

pub(crate) struct Case<'a> {
    pub(crate) evidence: &'a Evidence,
    /// Accepted posts by message id.
    pub(crate) accepted: HashMap<Uuid, &'a Post>,
    by_body: HashMap<&'a [u8], &'a Post>,
    /// For each entity, when a webhook that creates its link was first accepted.
    link_created: HashMap<&'a str, Instant>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(evidence: &'a Evidence) -> Self {
        let (mut accepted, mut by_body, mut link_created) = (HashMap::new(), HashMap::new(), HashMap::new());
        for post in &evidence.posts {
            by_body.insert(post.webhook.body.as_slice(), post);
            let Answer::Accepted(id) = post.answer else { continue };
            accepted.insert(id, post);
            if post.webhook.creates_link() {
                let first = link_created.entry(post.webhook.entity_id()).or_insert(post.ended);
                *first = post.ended.min(*first);
            }
        }
        Self { evidence, accepted, by_body, link_created }
    }

    /// The post of a message: by its id, or by its body if the answer to the post was lost.
    pub(crate) fn post(&self, message_id: Option<Uuid>, body: &[u8]) -> Option<&'a Post> {
        message_id.and_then(|id| self.accepted.get(&id)).or_else(|| self.by_body.get(body)).copied()
    }

    /// Whether `webhook` is a reconnect that may have found no link in any of its attempts.
    pub(crate) fn may_lack_link(&self, webhook: &Webhook) -> bool {
        if webhook.webhook_type() != "entity.reconnected" {
            return false;
        }
        let Some(created) = self.link_created.get(webhook.entity_id()) else { return true };
        let posts = self.evidence.posts.iter().filter(|post| post.webhook.number == webhook.number);
        posts.map(|post| post.started).max().is_none_or(|last_posted| last_posted < *created + MAX_STALL)
    }

    /// Whether the message may have been deleted with its queue. A webhook that was posted after the deletion is not excused.
    pub(crate) fn may_be_deleted(&self, post: &Post) -> bool {
        let deleted = |at: &Instant| post.started <= *at && post.ended + DELETED_AFTER >= *at;
        self.evidence.queue_deletions.iter().any(deleted)
    }

    /// Whether there may have been no queue for the message, so that it became a dead letter.
    pub(crate) fn may_be_unrouted(&self, post: &Post) -> bool {
        let near = |at: &Instant| post.started <= *at + UNROUTED_AFTER && post.ended + DELETED_AFTER >= *at;
        self.evidence.queue_deletions.iter().any(near)
    }
}
