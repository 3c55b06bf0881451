//! What was posted, and what was answered: all that the judge knows of the past.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use uuid::Uuid;

use crate::load::Webhook;

/// What a post came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200, with that message id: from now on it must not be lost.
    Accepted(Uuid),
    /// 503, no answer, or half of one: it may be on the queue and may not.
    Unknown,
    /// Any other status: it is not on the queue.
    Refused(u16),
}

/// One post of a webhook.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) webhook: Arc<Webhook>,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) answer: Answer,
}

/// Every post so far.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Vec<Post>>);

impl Ledger {
    pub(crate) fn note(&self, post: Post) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(post);
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn accepted(&self) -> usize {
        let posts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        posts.iter().filter(|post| matches!(post.answer, Answer::Accepted(_))).count()
    }
}
