//! How work on a replay ends, and on a part of it.

use crate::broker;

/// Why work on a replay ended, if the process was not interrupted.
#[derive(Clone, Debug)]
pub(super) enum WorkEnd {
    /// All letters were replayed or skipped. Some may be under way.
    Completed,
    /// `stop` was cancelled, or the replay is not this process's any more.
    Interrupted,
    /// A canary has failed.
    CanaryFailed,
    /// No canary has failed, but not every one has ended in time.
    CanariesUnderWay,
    /// More letters were dead again than `stop_on_failure` permits.
    TooManyFailures,
    /// A letter could not be published.
    PublishFailed(broker::Error),
}

/// What publishing a part of the letters came to.
pub(super) enum PartEnd {
    /// There was none left.
    Exhausted,
    /// Those that had not changed are published.
    Published,
    /// The work ends.
    Ended(WorkEnd),
}
