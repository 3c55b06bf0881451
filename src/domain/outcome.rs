//! What one delivery came to: a single vocabulary from the merge to the settlement.

use super::failure::Failure;

/// How a message was handled (docs/CONTRACT.md#1-promises, point 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It changed the bank link, if only a timestamp.
    Applied,
    /// It changed nothing: every value that it carries is already held from the same or a later time.
    Stale,
    /// It is not about a bank link.
    Ignored,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Stale, Self::Ignored];

    /// The name in the metric label and in the column `outcome`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Ignored => "ignored",
        }
    }

    /// The outcome with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// What one delivery came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// It was handled and needs no further delivery.
    Handled(Outcome),
    /// The message itself is at fault. This costs it an attempt.
    Failed(Failure),
    /// Its row cannot be written now although others can, for this reason, such as a lock. This costs it no attempt.
    Deferred(String),
}
