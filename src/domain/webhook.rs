//! Parses a webhook's body into a [`Webhook`], a type to ignore, or a failure.
//!
//! The rules are in docs/CONTRACT.md#what-a-webhook-must-have. The type is read first: a webhook of another type is
//! ignored whatever else is wrong with it. What a bank link cannot do without is strict: a failure names the field and the
//! kind of fault, never the value. An optional field that cannot be read is left out and reported, so that a cosmetic change
//! at Lean does not kill links.

use std::borrow::Cow;
use std::panic::catch_unwind;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::failure::{Failure, FailureClass};
use super::field::Field;
use super::json::{self, Object};
use super::optional_fields::Values;
use super::timestamp::Timestamp;

/// The types that Lean publishes and that are not about a bank link. They are ignored, and counted by name.
pub const IGNORED_TYPES: [&str; 16] = [
    "entity.data.refresh.updated",
    "results.ready",
    "bank.availability.updated",
    "consent.status.updated",
    "payment_source.created",
    "payment_source.updated",
    "payment_source.beneficiary.created",
    "payment_source.beneficiary.updated",
    "payment_intent.created",
    "payment_intent.expired",
    "payment.created",
    "payment.updated",
    "payment.reconciliation.updated",
    "bulk_payment_intent.created",
    "bulk_payment_intent.updated",
    "payment_consent.status.updated",
];
/// The label under which types are counted that Lean does not publish.
pub const OTHER_TYPE: &str = "other";
/// Maximum length of `customer_id`, in characters.
const MAX_CUSTOMER_ID_CHARS: usize = 128;
/// Maximum length of the name of an unknown type that is kept for the log, in bytes.
const MAX_TYPE_NAME_BYTES: usize = 128;
/// How far a timestamp may lie in the future: 24 hours, so that a wrong clock does not block a row's later changes.
const MAX_NANOS_AHEAD: i64 = 24 * 60 * 60 * 1_000_000_000;

/// What a body contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A webhook about a bank link.
    Link(Webhook),
    /// A webhook about something else.
    Ignored(IgnoredType),
}

/// The type of a webhook that is not about a bank link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IgnoredType {
    /// One of [`IGNORED_TYPES`].
    Published(&'static str),
    /// A type that Lean does not publish: its name, which may hold anything, cut at 128 bytes.
    Unknown(String),
}

impl IgnoredType {
    fn of(name: &str) -> Self {
        match IGNORED_TYPES.into_iter().find(|published| *published == name) {
            Some(published) => Self::Published(published),
            None => Self::Unknown(name[..name.floor_char_boundary(MAX_TYPE_NAME_BYTES)].to_owned()),
        }
    }

    /// The label in metrics: the name, or [`OTHER_TYPE`].
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Published(name) => name,
            Self::Unknown(_) => OTHER_TYPE,
        }
    }
}

/// A webhook about one bank link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The bank link's key.
    pub entity_id: Uuid,
    /// The webhook's own `timestamp`, or the time of its receipt if it has none.
    pub timestamp: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// The values that the webhook carries. A field that is absent, `null`, an empty string or unreadable is not among them.
    pub carried: Vec<(Field, String)>,
    /// The optional fields that could not be read: of another JSON type than expected, or longer than 1 KiB. Each is the
    /// field's name, or [`UNREADABLE_BANK_DETAILS`](super::optional_fields::UNREADABLE_BANK_DETAILS).
    pub unreadable: Vec<&'static str>,
}

/// What happened to the bank link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `entity.created`: the customer linked a bank.
    Created,
    /// `entity.updated`: the customer linked again, or the consent was changed or revoked.
    Updated,
    /// `entity.reconnected`: the customer's credentials were verified again.
    Reconnected,
}

/// Parses `body`, which was received at `received_at`; `now` is the current time.
///
/// # Errors
/// [`FailureClass::MalformedJson`] when the body is not JSON in UTF-8, [`FailureClass::InvalidWebhook`] when a required
/// field is missing or has a value that cannot be used, or a value that is to be stored holds U+0000. A retry cannot succeed
/// in either case.
pub fn parse(body: &[u8], received_at: Timestamp, now: Timestamp) -> Result<Parsed, Failure> {
    let malformed = |reason: &str| Failure::new(FailureClass::MalformedJson, reason);
    let text = std::str::from_utf8(without_bom(body)).map_err(|_| malformed("not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error.to_string()))?;
    let webhook = object(raw, "webhook")?;

    // The type is not stored, so unlike other texts it may contain U+0000.
    let event_type =
        webhook.get("type").map_or(Ok(None), json::text).map_err(|fault| Failure::invalid_webhook("type", fault))?;
    let kind = match event_type.as_deref() {
        Some("entity.created") => Kind::Created,
        Some("entity.updated") => Kind::Updated,
        Some("entity.reconnected") => Kind::Reconnected,
        Some(other) => return Ok(Parsed::Ignored(IgnoredType::of(other))),
        None => return Err(Failure::invalid_webhook("type", "missing")),
    };
    let payload =
        object(webhook.get("payload").ok_or_else(|| Failure::invalid_webhook("payload", "missing"))?, "payload")?;
    let mut values = Values::default();
    if kind != Kind::Reconnected {
        values.carried.push((Field::CustomerId, customer_id(&payload)?));
        values.read_payload(&payload)?;
    }
    values.read(&webhook, "event_id", Field::LastEventId)?;
    Ok(Parsed::Link(Webhook {
        entity_id: entity_id(&payload)?,
        timestamp: timestamp(&webhook, received_at, now)?,
        kind,
        carried: values.carried,
        unreadable: values.unreadable,
    }))
}

/// Reads the type and the entity id, by which dead letters are found, as far as possible, even if [`parse`] fails.
#[must_use]
pub fn peek_type_and_entity(body: &[u8]) -> (Option<String>, Option<Uuid>) {
    let peek = || {
        let webhook = Object::parse(serde_json::from_slice(without_bom(body)).ok()?).ok()?;
        let event_type = text(&webhook, "type").ok().flatten().map(Cow::into_owned);
        let payload = webhook.get("payload").and_then(|raw| Object::parse(raw).ok());
        Some((event_type, payload.and_then(|payload| entity_id(&payload).ok())))
    };
    // A panic while parsing is one of the ways in which a webhook becomes a dead letter.
    catch_unwind(peek).ok().flatten().unwrap_or_default()
}

fn entity_id(payload: &Object<'_>) -> Result<Uuid, Failure> {
    let path = "payload.id";
    let id = text(payload, path)?.ok_or_else(|| Failure::invalid_webhook(path, "missing"))?;
    Uuid::parse_str(&id).map_err(|_| Failure::invalid_webhook(path, "expected a UUID"))
}

fn timestamp(webhook: &Object<'_>, received_at: Timestamp, now: Timestamp) -> Result<Timestamp, Failure> {
    let path = "timestamp";
    let Some(text) = text(webhook, path)? else { return Ok(received_at) };
    let timestamp = Timestamp::parse(&text).map_err(|fault| Failure::invalid_webhook(path, fault))?;
    // By the later of two clocks: if that of the ingress is behind, this must not kill every webhook.
    if timestamp.is_later_than(received_at.max(now), MAX_NANOS_AHEAD) {
        return Err(Failure::invalid_webhook(path, "more than 24 h in the future"));
    }
    Ok(timestamp)
}

fn customer_id(payload: &Object<'_>) -> Result<String, Failure> {
    let path = "payload.customer_id";
    let id = text(payload, path)?.ok_or_else(|| Failure::invalid_webhook(path, "missing"))?;
    if id.chars().nth(MAX_CUSTOMER_ID_CHARS).is_some() {
        return Err(Failure::invalid_webhook(path, "longer than 128 characters"));
    }
    Ok(id.into_owned())
}

/// Reads `raw`, found at `path`, as an object.
fn object<'a>(raw: &'a RawValue, path: &str) -> Result<Object<'a>, Failure> {
    Object::parse(raw).map_err(|fault| Failure::invalid_webhook(path, fault))
}

/// Reads a text to store. `path` leads to it from the webhook's root; its last segment is its name in `object`.
fn text<'a>(object: &Object<'a>, path: &str) -> Result<Option<Cow<'a, str>>, Failure> {
    let text = object.at(path).map_or(Ok(None), json::text);
    let storable = text.and_then(|text| text.as_deref().map_or(Ok(()), json::storable).map(|()| text));
    storable.map_err(|fault| Failure::invalid_webhook(path, fault))
}

/// `body` without the byte order mark that some senders put in front (RFC 8259, section 8.1, permits to ignore it).
fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}
