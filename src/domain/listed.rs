//! A webhook as Lean lists it, and whether a bank link already holds what it carries (docs/CONTRACT.md#10-reconciling-with-lean).

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::bank_link::{BankLink, merge};
use super::failure::Failure;
use super::field::Field;
use super::json::{self, Object};
use super::timestamp::Timestamp;
use super::webhook::{Parsed, Webhook, parse, peek_type_and_entity};

/// Members of Lean's Entity object that the webhook made from it carries. The others do not change a bank link, and some are
/// about the customer.
const ENTITY_MEMBERS: [&str; 8] =
    ["id", "customer_id", "app_user_id", "end_user_id", "bank_identifier", "bank_type", "bank_details", "permissions"];

/// Which of Lean's lists is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Events API: what Lean has sent in the last 90 days, each in the webhook's own envelope.
    Events,
    /// The entities, where there is no Events API. Each counts as an `entity.created` of its `created_at`.
    Entities,
}

impl Source {
    /// Its name in settings and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Entities => "entities",
        }
    }
}

/// A listed webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedWebhook {
    /// The webhook: as it stood in the list byte for byte, or made from an entity.
    pub body: Bytes,
    /// Its `event_id`, if it has one.
    pub event_id: Option<String>,
    /// The id of the message that it is sent as: the same each time it is listed.
    pub message_id: Uuid,
    /// Where it was listed.
    pub source: Source,
}

impl ListedWebhook {
    /// Reads an entry of the Events API; `None` if it is not a webhook: not an object, or without a `type` that is text.
    #[must_use]
    pub fn from_event(entry: Bytes) -> Option<Self> {
        let object = object(&entry)?;
        text(&object, "type")?;
        let event_id = text(&object, "event_id");
        let message_id = match &event_id {
            Some(event_id) => message_id(event_id),
            None => id_of_bytes(&entry),
        };
        Some(Self { body: entry, event_id, message_id, source: Source::Events })
    }

    /// The `entity.created` that Lean sent, or should have sent, when it created the entity in `entry`, and when that was; `None` if
    /// `entry` has no `id` or no `created_at` that is an RFC 3339 time.
    #[must_use]
    pub fn from_entity(entry: &Bytes) -> Option<(Self, Timestamp)> {
        let object = object(entry)?;
        let (id, created_at) = (text(&object, "id")?, text(&object, "created_at")?);
        let timestamp = Timestamp::parse(&created_at).ok()?;
        let event_id = uuid_of(&format!("urn:banklink:lean-entity:{id}:{}", timestamp.nanos())).to_string();
        let member = |name: &str| Some((name.to_owned(), serde_json::from_str(object.get(name)?.get()).ok()?));
        let payload: serde_json::Map<String, Value> = ENTITY_MEMBERS.into_iter().filter_map(member).collect();
        let webhook = json!({
            "type": "entity.created",
            "message": "An entity object has been created.",
            "payload": payload,
            "timestamp": timestamp.rfc3339_nanos(),
            "event_id": event_id,
        });
        let message_id = message_id(&event_id);
        let body = Bytes::from(webhook.to_string());
        Some((Self { body, event_id: Some(event_id), message_id, source: Source::Entities }, timestamp))
    }

    /// Parses it as the worker does. A webhook without a `timestamp` gets [`Timestamp::EPOCH`]: when it was received is unknown.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn parse(&self, now: Timestamp) -> Result<Parsed, Failure> {
        parse(&self.body, Timestamp::EPOCH, now)
    }

    /// Whether the worker would find that `webhook`, this one parsed, changes nothing in `row`.
    ///
    /// A webhook without a `timestamp`, and one made from an entity, have another time and id than the webhook that Lean sent. So if they
    /// would only move an existing `linked_at` back, or add a `last_event_id`, they count as held.
    #[must_use]
    pub fn is_held(&self, row: Option<&BankLink>, webhook: &Webhook) -> bool {
        let Some(row) = row else { return false };
        let Some(mut after) = merge(Some(row), [webhook]).after else { return true };
        let has_own_time = self.source == Source::Events && webhook.timestamp != Timestamp::EPOCH;
        if has_own_time || row.linked_at.is_none() {
            return false;
        }
        (after.linked_at, after.revision) = (row.linked_at, row.revision);
        after.fields[Field::LastEventId as usize].clone_from(&row.fields[Field::LastEventId as usize]);
        after == *row
    }

    /// Whether `body`, posted or sent earlier, is the same webhook. An entity is created once, so the webhook made from it is the same
    /// as any `entity.created` about it.
    #[must_use]
    pub fn is_same(&self, body: &[u8]) -> bool {
        match (&self.event_id, self.source) {
            (_, Source::Entities) => peek_type_and_entity(body) == peek_type_and_entity(&self.body),
            (Some(event_id), _) => object(body).and_then(|body| text(&body, "event_id")).as_ref() == Some(event_id),
            (None, _) => {
                let parsed = parse(body, Timestamp::EPOCH, Timestamp::now());
                self.body == body || (parsed.is_ok() && parsed == self.parse(Timestamp::now()))
            }
        }
    }
}

/// An id by which an entry that is repeated byte for byte is recognised.
#[must_use]
pub fn id_of_bytes(entry: &[u8]) -> Uuid {
    message_id(&format!("sha256:{}", hex::encode(Sha256::digest(entry))))
}

fn message_id(event_id: &str) -> Uuid {
    uuid_of(&format!("urn:banklink:lean-event:{event_id}"))
}

fn uuid_of(urn: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, urn.as_bytes())
}

fn object(entry: &[u8]) -> Option<Object<'_>> {
    let raw: &RawValue = serde_json::from_slice(entry).ok()?;
    Object::parse(raw).ok()
}

fn text(object: &Object<'_>, name: &str) -> Option<String> {
    json::text(object.get(name)?).ok().flatten().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(json: &str) -> ListedWebhook {
        ListedWebhook::from_event(Bytes::from(json.to_owned())).unwrap()
    }

    fn link(listed: &ListedWebhook) -> Webhook {
        match listed.parse(Timestamp::now()) {
            Ok(Parsed::Link(webhook)) => webhook,
            other => panic!("{other:?}"),
        }
    }

    fn created(rest: &str) -> ListedWebhook {
        let payload = r#""payload":{"id":"f08fb010-878f-407a-9ac2-a7840fb56185","customer_id":"c"}"#;
        listed(&format!(r#"{{"type":"entity.created",{payload}{rest}}}"#))
    }

    #[test]
    fn the_message_id_depends_on_the_event_id_alone_or_else_on_the_bytes() {
        let expected = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"urn:banklink:lean-event:e1");
        assert_eq!(listed(r#"{"type":"a","event_id":"e1"}"#).message_id, expected);
        assert_eq!(listed(r#"{"event_id":"e1", "type":"b"}"#).message_id, expected);
        assert_eq!(listed(r#"{"type":"a"}"#).message_id, listed(r#"{"type":"a"}"#).message_id);
        assert_ne!(listed(r#"{"type":"a"}"#).message_id, listed(r#"{"type":"b"}"#).message_id);
    }

    #[test]
    fn an_entry_without_a_type_is_not_a_webhook() {
        for entry in ["null", "5", "[]", "{}", r#"{"type":7}"#, r#"{"type":""}"#, "{"] {
            assert_eq!(ListedWebhook::from_event(Bytes::from_static(entry.as_bytes())), None, "{entry}");
        }
    }

    #[test]
    fn a_webhook_is_held_once_the_row_has_everything_that_it_carries() {
        let timed = created(r#","timestamp":"2026-05-12T14:34:40Z","event_id":"e1""#);
        assert!(!timed.is_held(None, &link(&timed)));
        let row = merge(None, [&link(&timed)]).after;
        assert!(timed.is_held(row.as_ref(), &link(&timed)));
        let earlier = created(r#","timestamp":"2026-05-12T14:34:39Z","event_id":"e0""#);
        assert!(!earlier.is_held(row.as_ref(), &link(&earlier)), "it moves linked_at");
        let untimed = created("");
        assert!(untimed.is_held(row.as_ref(), &link(&untimed)));
        let without_created = BankLink { linked_at: None, ..row.unwrap() };
        assert!(!untimed.is_held(Some(&without_created), &link(&untimed)));
    }

    #[test]
    fn an_entity_becomes_the_same_created_webhook_each_time() {
        let entity = r#"{"id":"f08fb010-878f-407a-9ac2-a7840fb56185","customer_id":"c","bank_identifier":"B","consents":[1],
            "permissions":{"identity":true,"accounts":false},"created_at":"2026-05-12T14:34:40.5Z","status":"ACTIVE"}"#;
        let (webhook, at) = ListedWebhook::from_entity(&Bytes::from(entity)).unwrap();
        let again = ListedWebhook::from_entity(&Bytes::from(entity.replace("ACTIVE", "EXPIRED"))).unwrap();
        assert_eq!((webhook.clone(), at), again);
        assert_eq!(at, Timestamp::parse("2026-05-12T14:34:40.5Z").unwrap());
        let row = merge(None, [&link(&webhook)]).after.unwrap();
        assert_eq!(row.get(Field::BankIdentifier), Some("B"));
        assert!(!String::from_utf8_lossy(&webhook.body).contains("consents"));
        assert_eq!(ListedWebhook::from_entity(&Bytes::from_static(br#"{"id":"x","created_at":"soon"}"#)), None);
    }

    #[test]
    fn the_same_webhook_is_recognised_by_its_event_id_or_by_what_it_says() {
        assert!(created(r#","event_id":"e1""#).is_same(br#"{ "event_id": "e1" }"#));
        assert!(!created(r#","event_id":"e1""#).is_same(br#"{ "event_id": "e2" }"#));
        let spaced = String::from_utf8_lossy(&created("").body).replace(':', ": ");
        assert!(created("").is_same(spaced.as_bytes()));
        assert!(!created("").is_same(&created(r#","timestamp":"2026-05-12T14:34:40Z""#).body));
    }
}
