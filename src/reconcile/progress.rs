//! What a run reports while it works.

use uuid::Uuid;

use crate::domain::listed::ListedWebhook;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{Parsed, peek_type_and_entity};
use crate::store::reconcile_runs::Counts;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What the listed webhooks came to.
    pub counts: Counts,
    /// How many a dry run would have sent.
    pub missing: u64,
    /// How many pages were read.
    pub pages: u64,
    /// How many pages there are, as far as is known.
    pub expected_pages: u64,
}

/// A missing webhook, without anything about the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The id of the message that it would be sent as.
    pub message_id: Uuid,
    /// Its `event_id`.
    pub event_id: Option<String>,
    /// Its type.
    pub event_type: Option<String>,
    /// The entity that it is about.
    pub entity_id: Option<Uuid>,
    /// Its own time, in RFC 3339 with nanoseconds.
    pub timestamp: Option<String>,
}

impl Missing {
    pub(super) fn of(listed: &ListedWebhook) -> Self {
        let (event_type, entity_id) = peek_type_and_entity(&listed.body);
        let timestamp = match listed.parse(Timestamp::now()) {
            Ok(Parsed::Link(webhook)) => Some(webhook.timestamp).filter(|timestamp| *timestamp != Timestamp::EPOCH),
            _ => None,
        };
        Self {
            message_id: listed.message_id,
            event_id: listed.event_id.clone(),
            event_type,
            entity_id,
            timestamp: timestamp.map(Timestamp::rfc3339_nanos),
        }
    }
}
