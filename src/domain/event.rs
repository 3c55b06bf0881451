//! The events that announce changes: CloudEvents 1.0 in JSON (docs/CONTRACT.md#which-events-follow-a-change).
//!
//! An event's id is derived from its content, so an event that is published twice has the same id both times.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::bank_link::BankLink;
use super::field::Field;
use super::link_data::LinkData;

/// The content type of an event's message (CloudEvents 1.0, JSON format, section 3).
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// An event is rarely larger, so its text is rarely copied while it is written.
const USUAL_BYTES: usize = 1024;

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
    pub json: String,
}

/// A change of a bank link that is announced to subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The customer linked a bank.
    Linked,
    /// A value of an announced link changed.
    Updated,
    /// The customer's credentials were verified again.
    Reconnected,
}

impl Change {
    /// Every kind of change.
    pub const ALL: [Self; 3] = [Self::Linked, Self::Updated, Self::Reconnected];

    /// The `type` of the event, which is also its routing key.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Linked => "customer.bank_linked",
            Self::Updated => "customer.bank_link_updated",
            Self::Reconnected => "customer.bank_reconnected",
        }
    }

    /// When the event is sent, for the published documents.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Linked => "The customer linked a bank. Once per link.",
            Self::Updated => {
                "The customer, app user, end user, bank or permissions of a link changed after it was announced. \
                 A revoked consent is such a change: the permissions are fewer, or none."
            }
            Self::Reconnected => {
                "The customer passed a new credential check. May accompany either of the other events."
            }
        }
    }

    /// The `dataschema` of the event: the id of its data's schema. The number is that of the version.
    #[must_use]
    pub fn data_schema(self) -> String {
        format!("urn:banklink:{}:1", self.event_type())
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
        dataschema: change.data_schema(),
        data: link.into(),
    };
    Event { id, event_type, entity_id: link.entity_id, json: to_json(&envelope) }
}

/// Nothing in an envelope can fail to serialise.
fn to_json(envelope: &Envelope<'_>) -> String {
    let mut json = Vec::with_capacity(USUAL_BYTES);
    let written = serde_json::to_writer(&mut json, envelope);
    written.ok().and_then(|()| String::from_utf8(json).ok()).unwrap_or_default()
}

/// A CloudEvent 1.0 in structured mode.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Envelope<'a> {
    /// The version of CloudEvents.
    #[schemars(extend("const" = "1.0"))]
    specversion: &'static str,
    /// Identifies the event. An event that arrives again has the same id: remember ids.
    id: Uuid,
    /// The setting `BANKLINK_EVENT_SOURCE`.
    #[schemars(extend("format" = "uri-reference", "minLength" = 1))]
    source: &'a str,
    /// The type of the event, which is also its routing key.
    #[serde(rename = "type")]
    event_type: &'static str,
    /// The customer's id at Lean: opaque text. Left out if it contains control characters.
    // An attribute must not contain them: CloudEvents 1.0, section 3.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    subject: Option<&'a str>,
    /// The time of the newest webhook that the link is made of, in UTC with six fraction digits.
    #[schemars(extend("format" = "date-time"))]
    time: String,
    /// The content type of `data`.
    #[schemars(extend("const" = "application/json"))]
    datacontenttype: &'static str,
    /// The id of the schema of `data`. Its last part is the version.
    dataschema: String,
    /// The link.
    data: LinkData<'a>,
}
