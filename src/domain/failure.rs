//! Why a message could not be handled: its class, and a reason that never repeats a customer's data.

use std::fmt;

/// What kind of failure made a letter dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The body is no JSON.
    MalformedJson,
    /// The body is JSON, but not a webhook that can be understood.
    InvalidWebhook,
    /// A reconnect spoke of a bank link that did not come within the retry schedule.
    UnknownEntity,
    /// The database refused this one row, while others went through.
    RejectedByDatabase,
    /// Handling it panicked.
    Panicked,
    /// The broker gave it out too often without an answer: a crash loop.
    DeliveryLimit,
    /// It expired on the work queue, through a policy that somebody set.
    Expired,
    /// There was no work queue to hold it.
    Unrouted,
}

impl FailureClass {
    /// Every class, for metrics that show each one from the start.
    pub const ALL: [Self; 8] = [
        Self::MalformedJson,
        Self::InvalidWebhook,
        Self::UnknownEntity,
        Self::RejectedByDatabase,
        Self::Panicked,
        Self::DeliveryLimit,
        Self::Expired,
        Self::Unrouted,
    ];

    /// The name used in headers, tables, metrics and filters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::InvalidWebhook => "invalid_webhook",
            Self::UnknownEntity => "unknown_entity",
            Self::RejectedByDatabase => "rejected_by_database",
            Self::Panicked => "panicked",
            Self::DeliveryLimit => "delivery_limit",
            Self::Expired => "expired",
            Self::Unrouted => "unrouted",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Whether trying again could help. The content of a body never changes, so what is wrong with it stays wrong.
    #[must_use]
    pub fn is_worth_a_retry(self) -> bool {
        !matches!(self, Self::MalformedJson | Self::InvalidWebhook)
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One failed attempt at a message, by the message's own fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub class: FailureClass,
    /// What went wrong, for an operator's eyes.
    pub reason: String,
}

impl Failure {
    /// A failure of that class with that reason.
    pub fn new(class: FailureClass, reason: impl Into<String>) -> Self {
        Self { class, reason: reason.into() }
    }

    /// The failure of an `entity.reconnected` whose bank link does not exist.
    #[must_use]
    pub fn unknown_entity() -> Self {
        Self::new(FailureClass::UnknownEntity, "payload.id: no bank link of this entity is known")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.class, self.reason)
    }
}
