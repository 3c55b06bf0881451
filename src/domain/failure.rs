//! Why a message could not be handled: a class, and a reason that never contains a customer's data.

use std::fmt;

/// The kind of a failure (docs/CONTRACT.md#7-dead-letters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The body is not JSON.
    MalformedJson,
    /// The body is JSON, but a required field is missing or a field has an invalid value.
    InvalidWebhook,
    /// An `entity.reconnected` whose bank link does not exist (yet: it is retried).
    UnknownEntity,
    /// The database rejects this row while it accepts others.
    RejectedByDatabase,
    /// The worker panicked while handling the message.
    Panicked,
    /// The broker delivered the message more often than the work queue's `x-delivery-limit`: a crash loop.
    DeliveryLimit,
    /// The message expired on the work queue, which happens only under an operator's TTL policy.
    Expired,
    /// No queue was bound to the exchange for webhooks when the message was published.
    Unrouted,
}

impl FailureClass {
    /// Every class.
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

    /// The class's name in headers, tables, metrics and filters.
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

    /// The class with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Whether a retry can succeed. A body never changes, so its own faults are permanent.
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

/// The failure of one attempt, caused by the message or by what happened to it on the broker, and not by an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub class: FailureClass,
    /// What went wrong, for an operator to read.
    pub reason: String,
}

impl Failure {
    /// A failure of class [`FailureClass::InvalidWebhook`]: what is wrong with the member that `path` leads to.
    #[must_use]
    pub fn invalid_webhook(path: &str, fault: &str) -> Self {
        Self::new(FailureClass::InvalidWebhook, format!("{path}: {fault}"))
    }

    /// Creates a failure.
    pub fn new(class: FailureClass, reason: impl Into<String>) -> Self {
        Self { class, reason: reason.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.class, self.reason)
    }
}
