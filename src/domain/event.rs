//! The events that announce changes: CloudEvents 1.0 in JSON (docs/CONTRACT.md#which-events-follow-a-change).
//!
//! An event's id is derived from its content, so an event that is published twice has the same id both times.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::bank_link::BankLink;
use super::field::Field;
use super::link_data::LinkData;

/// The content type of an event's message (CloudEvents 1.0, JSON format, section 3).
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// An event, ready to be stored in the outbox and published.
#[derive(Clone, Debug)]
pub struct Event {
    /// The CloudEvents `id`.
    pub id: Uuid,
    /// The CloudEvents `type`, which is also the routing key.
    pub event_type: &'static str,
    /// The bank link that changed.
    pub entity_id: Uuid,
    /// The whole event as JSON.
    pub json: Box<RawValue>,
}

/// A change of a bank link that is announced to subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Linked,
    Updated,
    Reconnected,
}

impl Change {
    fn event_type(self) -> &'static str {
        match self {
            Self::Linked => "customer.bank_linked",
            Self::Updated => "customer.bank_link_updated",
            Self::Reconnected => "customer.bank_reconnected",
        }
    }

    /// The id of the event. A bank link is linked once; the other changes occur at most once per revision.
    fn id(self, link: &BankLink) -> Uuid {
        let name = match self {
            Self::Linked => format!("urn:banklink:{}:{}", self.event_type(), link.entity_id),
            Self::Updated | Self::Reconnected => {
                format!("urn:banklink:{}:{}:{}", self.event_type(), link.entity_id, link.revision)
            }
        };
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
    }
}

/// The events that follow when the row `before`, if any, becomes `after`. `source` is their CloudEvents `source`.
///
/// A bank link without `linked_at` is not announced: its `entity.created` has not arrived yet.
#[must_use]
pub fn for_change(before: Option<&BankLink>, after: &BankLink, source: &str) -> Vec<Event> {
    if after.linked_at.is_none() {
        return Vec::new();
    }
    let linked_or_updated = match before.filter(|link| link.linked_at.is_some()) {
        Some(before) => (!after.has_same_values(before)).then_some(Change::Updated),
        None => Some(Change::Linked),
    };
    let is_reconnected = after.reconnected_at > before.and_then(|link| link.reconnected_at);
    let reconnected = is_reconnected.then_some(Change::Reconnected);
    linked_or_updated.into_iter().chain(reconnected).map(|change| event(change, after, source)).collect()
}

fn event(change: Change, link: &BankLink, source: &str) -> Event {
    let id = change.id(link);
    let event_type = change.event_type();
    let customer_id = link.get(Field::CustomerId);
    let envelope = Envelope {
        specversion: "1.0",
        id,
        source,
        event_type,
        subject: customer_id.filter(|id| !id.contains(char::is_control)),
        time: link.version.rfc3339_micros(),
        datacontenttype: "application/json",
        dataschema: format!("urn:banklink:{event_type}:1"),
        data: link.into(),
    };
    let json = to_raw_value(&envelope).unwrap_or_else(|_| RawValue::NULL.to_owned());
    Event { id, event_type, entity_id: link.entity_id, json }
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: Uuid,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'static str,
    /// Left out if the customer id contains control characters, which an attribute must not (CloudEvents 1.0, section 3.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    datacontenttype: &'static str,
    dataschema: String,
    data: LinkData<'a>,
}
