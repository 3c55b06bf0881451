//! The two queues that the worker consumes.

use crate::broker::Connection;

/// Which queue, and so what is done with its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueKind {
    /// The work queue: webhooks are handled.
    Work,
    /// The dead queue: dead messages are recorded.
    Dead,
}

/// A queue and how it is consumed.
pub(super) struct QueueConfig<'a> {
    pub(super) kind: QueueKind,
    pub(super) connection: &'a Connection,
    pub(super) name: String,
    /// Maximum number of unacknowledged deliveries.
    pub(super) prefetch: u16,
    /// Maximum number of deliveries in one batch.
    pub(super) batch_size: usize,
}
