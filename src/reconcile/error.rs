//! Why a run did not account for everything that Lean lists.

use super::listing::Inconsistency;
use crate::{broker, lean, store};

/// Why a run ended before it was complete. What it has sent is sent; the next run begins again where the last complete part ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process reconciles: its name.
    #[error("{0} is reconciling")]
    HeldBy(String),
    /// The lease could not be renewed in time, so another process may be reconciling.
    #[error("the lease was lost: the database was away, or the process was suspended")]
    LeaseLost,
    /// The process was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Lean gave no answer that can be used.
    #[error(transparent)]
    Lean(#[from] lean::Error),
    /// Lean's pages do not fit together, each time that they were read.
    #[error("Lean's list is inconsistent: {0}")]
    Inconsistent(Inconsistency),
    /// So many entries of the list are not webhooks, so they could not be accounted for.
    #[error("{}", counted(*.0, "entry of Lean's list is not a webhook", "entries of Lean's list are not webhooks"))]
    NotWebhooks(u64),
    /// So many webhooks are missing, and a dry run does not send them.
    #[error("{}", counted(*.0, "webhook is missing", "webhooks are missing"))]
    Missing(u64),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// RabbitMQ did not confirm a webhook.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// `count` with the words for one or for several.
fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one() {
        assert_eq!(Error::Missing(1).to_string(), "1 webhook is missing");
        assert_eq!(Error::Missing(2).to_string(), "2 webhooks are missing");
        assert_eq!(Error::NotWebhooks(1).to_string(), "1 entry of Lean's list is not a webhook");
        assert_eq!(Error::NotWebhooks(0).to_string(), "0 entries of Lean's list are not webhooks");
    }
}
