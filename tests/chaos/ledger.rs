//! The ledger: every post, and how it was answered. The judge knows nothing else about what was sent.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use uuid::Uuid;

use crate::load::Webhook;

/// How a post was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 with this message id: the webhook must not be lost from now on.
    Accepted(Uuid),
    /// 503, no answer, or half of one: the webhook may be on the queue or not.
    Unknown,
    /// Any other status: the webhook is not on the queue.
    Rejected(u16),
}

/// One post of a webhook.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) webhook: Arc<Webhook>,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    pub(crate) answer: Answer,
}

/// All posts so far.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Vec<Post>>);

impl Ledger {
    pub(crate) fn record(&self, post: Post) {
        self.0.lock().expect("not poisoned").push(post);
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.0.lock().expect("not poisoned").clone()
    }
}
