//! Parses a webhook's body into a [`Webhook`], a type to ignore, or a failure.
//!
//! The rules are in docs/CONTRACT.md#what-a-webhook-must-have. The type is read first: a webhook of another type is
//! ignored whatever else is wrong with it. A failure names the field and the kind of fault, never the value.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::panic::catch_unwind;

use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::failure::{Failure, FailureClass};
use super::field::Field;
use super::json::{self, Fault, Object};
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

/// The members of `bank_details`, and the fields that hold them.
const BANK_DETAILS: [(&str, Field); 8] = [
    ("payload.bank_details.identifier", Field::BankIdentifier),
    ("payload.bank_details.name", Field::BankName),
    ("payload.bank_details.logo", Field::BankLogo),
    ("payload.bank_details.main_color", Field::BankMainColor),
    ("payload.bank_details.background_color", Field::BankBackgroundColor),
    ("payload.bank_details.swift_code", Field::BankSwiftCode),
    ("payload.bank_details.account_type", Field::BankAccountType),
    ("payload.bank_details.bank_type", Field::BankType),
];
/// Maximum length of `customer_id` and `app_user_id`, in characters.
const MAX_ID_CHARS: usize = 128;
/// How far a timestamp may lie after its receipt: 24 hours, so that a wrong clock does not block a row's later changes.
const MAX_NANOS_AFTER_RECEIPT: i64 = 24 * 60 * 60 * 1_000_000_000;

/// What a body contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A webhook about a bank link.
    Link(Webhook),
    /// A webhook about something else: its type if it is one of [`IGNORED_TYPES`], otherwise [`OTHER_TYPE`].
    Ignored(&'static str),
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
    /// The values that the webhook carries. A field that is absent, `null` or an empty string is not among them.
    pub carried: Vec<(Field, String)>,
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

/// Parses `body`, which was received at `received_at`.
///
/// # Errors
/// [`FailureClass::MalformedJson`] when the body is not JSON in UTF-8, [`FailureClass::InvalidWebhook`] when a required
/// field is missing or a field that is read has a value that cannot be used. A retry cannot succeed in either case.
pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Parsed, Failure> {
    let malformed = |reason: &str| Failure::new(FailureClass::MalformedJson, reason);
    let text = std::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error.to_string()))?;
    let webhook = object(raw, "webhook")?;

    // The type is not stored, so unlike other texts it may contain U+0000.
    let event_type = webhook.get("type").map_or(Ok(None), json::text).map_err(|fault| invalid("type", fault))?;
    let kind = match event_type.as_deref() {
        Some("entity.created") => Kind::Created,
        Some("entity.updated") => Kind::Updated,
        Some("entity.reconnected") => Kind::Reconnected,
        Some(other) => {
            let published = IGNORED_TYPES.into_iter().find(|published| *published == other);
            return Ok(Parsed::Ignored(published.unwrap_or(OTHER_TYPE)));
        }
        None => return Err(invalid("type", "missing")),
    };
    let payload = object(webhook.get("payload").ok_or_else(|| invalid("payload", "missing"))?, "payload")?;
    let mut carried = match kind {
        Kind::Created | Kind::Updated => link_values(&payload)?,
        Kind::Reconnected => Vec::new(),
    };
    carried.extend(value(&webhook, "event_id", Field::LastEventId)?);
    Ok(Parsed::Link(Webhook {
        entity_id: entity_id(&payload)?,
        timestamp: timestamp(&webhook, received_at)?,
        kind,
        carried,
    }))
}

/// Reads the type and the entity id, by which dead letters are found, as far as possible, even if [`parse`] fails.
#[must_use]
pub fn peek_type_and_entity(body: &[u8]) -> (Option<String>, Option<Uuid>) {
    let peek = || {
        let webhook = Object::parse(serde_json::from_slice(body).ok()?).ok()?;
        let event_type = text(&webhook, "type").ok().flatten().map(Cow::into_owned);
        let payload = webhook.get("payload").and_then(|raw| Object::parse(raw).ok());
        Some((event_type, payload.and_then(|payload| entity_id(&payload).ok())))
    };
    // A panic while parsing is one of the ways in which a webhook becomes a dead letter.
    catch_unwind(peek).ok().flatten().unwrap_or_default()
}

fn entity_id(payload: &Object<'_>) -> Result<Uuid, Failure> {
    let path = "payload.id";
    let id = text(payload, path)?.ok_or_else(|| invalid(path, "missing"))?;
    Uuid::parse_str(&id).map_err(|_| invalid(path, "expected a UUID"))
}

fn timestamp(webhook: &Object<'_>, received_at: Timestamp) -> Result<Timestamp, Failure> {
    let path = "timestamp";
    let Some(text) = text(webhook, path)? else { return Ok(received_at) };
    let timestamp =
        Timestamp::parse(&text).ok_or_else(|| invalid(path, "expected an RFC 3339 time between 1970 and 2262"))?;
    if timestamp.is_later_than(received_at, MAX_NANOS_AFTER_RECEIPT) {
        return Err(invalid(path, "more than 24 h after its receipt"));
    }
    Ok(timestamp)
}

/// The values that `entity.created` and `entity.updated` carry in their payload.
fn link_values(payload: &Object<'_>) -> Result<Vec<(Field, String)>, Failure> {
    let customer_id = id(payload, "payload.customer_id")?.ok_or_else(|| invalid("payload.customer_id", "missing"))?;
    let mut carried = vec![(Field::CustomerId, customer_id)];
    carried.extend(id(payload, "payload.app_user_id")?.map(|id| (Field::AppUserId, id)));
    if let Some(bank_details) = payload.get("bank_details") {
        let bank_details = object(bank_details, "payload.bank_details")?;
        for (path, field) in BANK_DETAILS {
            carried.extend(value(&bank_details, path, field)?);
        }
    }
    // Lean's Data API has the bank's identifier here; `bank_details.identifier` takes precedence.
    let identifier = value(payload, "payload.bank_identifier", Field::BankIdentifier)?;
    if !carried.iter().any(|(field, _)| *field == Field::BankIdentifier) {
        carried.extend(identifier);
    }
    if let Some(raw) = payload.get("permissions") {
        let names = permissions(raw).map_err(|fault| invalid("payload.permissions", fault))?;
        // Two values with the same timestamp are compared by this text.
        carried.push((Field::Permissions, Value::from_iter(names).to_string()));
    }
    Ok(carried)
}

/// Reads permissions, documented or not, from an array of names (webhooks) or an object of booleans (Lean's Data API).
fn permissions(raw: &RawValue) -> Result<BTreeSet<String>, Fault> {
    let mut names = BTreeSet::new();
    if raw.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| "expected names")?;
        for item in items {
            names.extend(json::storable_text(item)?.map(Cow::into_owned));
        }
        return Ok(names);
    }
    let object = Object::parse(raw).map_err(|_| "expected a list of names or a map of booleans")?;
    for (name, granted) in object.members() {
        match granted.get() {
            "true" if name.contains('\0') => return Err("holds U+0000"),
            "true" if !name.is_empty() => drop(names.insert(name.to_owned())),
            "true" | "false" | "null" => {}
            _ => return Err("expected true or false"),
        }
    }
    Ok(names)
}

/// Reads `raw`, found at `path`, as an object.
fn object<'a>(raw: &'a RawValue, path: &str) -> Result<Object<'a>, Failure> {
    Object::parse(raw).map_err(|fault| invalid(path, fault))
}

/// Reads a text to store. `path` leads to it from the webhook's root; its last segment is its name in `object`.
fn text<'a>(object: &Object<'a>, path: &str) -> Result<Option<Cow<'a, str>>, Failure> {
    let name = path.rsplit('.').next().unwrap_or(path);
    object.get(name).map_or(Ok(None), json::storable_text).map_err(|fault| invalid(path, fault))
}

/// Reads a text as the value of `field`.
fn value(object: &Object<'_>, path: &str, field: Field) -> Result<Option<(Field, String)>, Failure> {
    Ok(text(object, path)?.map(|text| (field, text.into_owned())))
}

/// Reads a text of at most [`MAX_ID_CHARS`] characters.
fn id(object: &Object<'_>, path: &str) -> Result<Option<String>, Failure> {
    match text(object, path)? {
        Some(id) if id.chars().nth(MAX_ID_CHARS).is_some() => Err(invalid(path, "longer than 128 characters")),
        id => Ok(id.map(Cow::into_owned)),
    }
}

fn invalid(path: &str, fault: Fault) -> Failure {
    Failure::new(FailureClass::InvalidWebhook, format!("{path}: {fault}"))
}
