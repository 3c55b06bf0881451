//! A webhook, as it is posted and listed.

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::dialect::Dialect;
use crate::domain::timestamp::Timestamp;

/// What a webhook announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Created,
    Updated,
    Reconnected,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Created => "entity.created",
            Self::Updated => "entity.updated",
            Self::Reconnected => "entity.reconnected",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Created => "An entity object has been created.",
            Self::Updated => "An entity object has been updated.",
            Self::Reconnected => "An entity object has been reconnected.",
        }
    }
}

/// One webhook. It is posted byte for byte as it is listed.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) kind: Kind,
    /// When it was created. No two have the same time.
    pub(super) timestamp: Timestamp,
    pub(super) event_id: Uuid,
    pub(super) body: Bytes,
}

impl Webhook {
    pub(super) fn new(kind: Kind, payload: &Value, timestamp: Timestamp, event_id: Uuid, dialect: Dialect) -> Self {
        let mut envelope = json!({ "type": kind.name(), "payload": payload, "message": kind.message() });
        if dialect == Dialect::Uae {
            envelope["timestamp"] = json!(timestamp.rfc3339_nanos());
            envelope["event_id"] = json!(event_id);
        }
        Self { kind, timestamp, event_id, body: envelope.to_string().into() }
    }
}
