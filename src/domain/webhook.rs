//! Reads a webhook's bytes: what it says of a bank link, that it says nothing of one, or why it cannot be understood.
//!
//! The type is looked at first, so that a webhook which is none of our business is never refused for the rest of it.
//! What is wrong is told by the field's name and the kind of fault, never by its value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::catch_unwind;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::failure::{Failure, FailureClass};
use super::field::{Field, Permissions};
use super::json::{self, Fault};
use super::timestamp::Timestamp;

/// The types that Lean publishes and that say nothing of a bank link; ignored, and counted by name.
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
/// What a type that is not published is counted as.
pub const OTHER_TYPE: &str = "other";

/// The longest `customer_id` or `app_user_id`, in characters.
const LONGEST_ID: usize = 128;
/// How far a webhook's time may lie after its receipt: a day. One wrong clock must not freeze a row.
const LATEST_NANOS: i64 = 24 * 60 * 60 * 1_000_000_000;

/// What a body turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// It speaks of a bank link.
    Link(Webhook),
    /// It does not; the type as one of [`IGNORED_TYPES`], or [`OTHER_TYPE`].
    Ignored(&'static str),
}

/// A webhook about one bank link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The bank link's key.
    pub entity_id: Uuid,
    /// The instant it speaks for: its own time, or when it was received.
    pub instant: Timestamp,
    /// Which of the three it is.
    pub kind: Kind,
    /// The values that it carries, each with its field; a field that is absent, `null` or empty is not here.
    pub carried: Vec<(Field, String)>,
}

/// What happened to the bank link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `entity.created`: the customer linked a bank.
    Created,
    /// `entity.updated`: connected again, or the consent changed or was revoked.
    Updated,
    /// `entity.reconnected`: the customer passed a credential check.
    Reconnected,
}

/// Reads `body`, received at `received_at`.
///
/// # Errors
/// [`FailureClass::MalformedJson`] or [`FailureClass::InvalidWebhook`]; trying again cannot help.
pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Parsed, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let [event_type, payload, timestamp, event_id] =
        json::members(raw, ["type", "payload", "timestamp", "event_id"]).map_err(|fault| invalid("webhook", fault))?;

    let event_type = event_type.map_or(Ok(None), json::text).map_err(|fault| invalid("type", fault))?;
    let event_type = event_type.ok_or_else(|| invalid("type", "missing"))?;
    let kind = match event_type.as_ref() {
        "entity.created" => Kind::Created,
        "entity.updated" => Kind::Updated,
        "entity.reconnected" => Kind::Reconnected,
        other => return Ok(Parsed::Ignored(published(other))),
    };
    let payload = payload.ok_or_else(|| invalid("payload", "missing"))?;
    let mut carried = match kind {
        Kind::Created | Kind::Updated => details(payload)?,
        Kind::Reconnected => Vec::new(),
    };
    if let Some(event_id) = optional(event_id, "event_id")? {
        carried.push((Field::LastEventId, event_id.into_owned()));
    }
    Ok(Parsed::Link(Webhook {
        entity_id: entity_id(payload)?,
        instant: instant(timestamp, received_at)?,
        kind,
        carried,
    }))
}

/// The type and the entity that a body names, as far as it can be read: how a dead letter is found again.
#[must_use]
pub fn glimpse(body: &[u8]) -> (Option<String>, Option<Uuid>) {
    let read = || -> Option<(Option<String>, Option<Uuid>)> {
        let raw: &RawValue = serde_json::from_slice(body).ok()?;
        let [event_type, payload] = json::members(raw, ["type", "payload"]).ok()?;
        let event_type = event_type.and_then(|raw| json::storable_text(raw).ok().flatten()).map(Cow::into_owned);
        Some((event_type, payload.and_then(|payload| entity_id(payload).ok())))
    };
    // It is asked of bodies that have made the worker panic, too.
    catch_unwind(read).ok().flatten().unwrap_or_default()
}

fn entity_id(payload: &RawValue) -> Result<Uuid, Failure> {
    let [id] = json::members(payload, ["id"]).map_err(|fault| invalid("payload", fault))?;
    let id = required(id, "payload.id")?;
    Uuid::parse_str(&id).map_err(|_| invalid("payload.id", "expected a UUID"))
}

/// What `entity.created` and `entity.updated` carry beside the id.
fn details(payload: &RawValue) -> Result<Vec<(Field, String)>, Failure> {
    let [customer, app_user, permissions, bank_details, flat_identifier] =
        json::members(payload, ["customer_id", "app_user_id", "permissions", "bank_details", "bank_identifier"])
            .map_err(|fault| invalid("payload", fault))?;

    let customer = at_most(LONGEST_ID, required(customer, "payload.customer_id")?, "payload.customer_id")?;
    let mut carried = vec![(Field::CustomerId, customer)];
    if let Some(app_user) = optional(app_user, "payload.app_user_id")? {
        carried.push((Field::AppUserId, at_most(LONGEST_ID, app_user, "payload.app_user_id")?));
    }
    if let Some(bank_details) = bank_details {
        carried.extend(bank(bank_details)?);
    }
    // The Data API's flat shape; where both are there, the webhook's own shape is the more particular one.
    let flat_identifier = optional(flat_identifier, "payload.bank_identifier")?;
    if let Some(identifier) = flat_identifier
        && !carried.iter().any(|(field, _)| *field == Field::BankIdentifier)
    {
        carried.push((Field::BankIdentifier, identifier.into_owned()));
    }
    if let Some(permissions) = permissions {
        let granted = granted(permissions).map_err(|fault| invalid("payload.permissions", fault))?;
        carried.push((Field::Permissions, granted.to_json()));
    }
    Ok(carried)
}

fn bank(bank_details: &RawValue) -> Result<Vec<(Field, String)>, Failure> {
    const MEMBERS: [(&str, &str, Field); 8] = [
        ("identifier", "payload.bank_details.identifier", Field::BankIdentifier),
        ("name", "payload.bank_details.name", Field::BankName),
        ("logo", "payload.bank_details.logo", Field::BankLogo),
        ("main_color", "payload.bank_details.main_color", Field::BankMainColor),
        ("background_color", "payload.bank_details.background_color", Field::BankBackgroundColor),
        ("swift_code", "payload.bank_details.swift_code", Field::BankSwiftCode),
        ("account_type", "payload.bank_details.account_type", Field::BankAccountType),
        ("bank_type", "payload.bank_details.bank_type", Field::BankType),
    ];
    let values = json::members(bank_details, MEMBERS.map(|(name, _, _)| name))
        .map_err(|fault| invalid("payload.bank_details", fault))?;
    let mut carried = Vec::with_capacity(MEMBERS.len());
    for ((_, path, field), value) in MEMBERS.into_iter().zip(values) {
        if let Some(value) = optional(value, path)? {
            carried.push((field, value.into_owned()));
        }
    }
    Ok(carried)
}

/// Both shapes: the webhook's list of names, and the Data API's map of booleans. Names nobody knows yet are kept.
fn granted(permissions: &RawValue) -> Result<Permissions, Fault> {
    let mut names = Vec::new();
    if permissions.get().starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(permissions.get()).map_err(|_| "expected names")?;
        for name in list {
            names.extend(json::storable_text(name)?.map(Cow::into_owned));
        }
        return Ok(Permissions::new(names));
    }
    // Of two members with one name the last counts: who granted first and then took back has not granted.
    let mut members = BTreeMap::new();
    json::each_member(permissions, |name, granted| {
        members.insert(name, granted.get());
    })
    .map_err(|_| "expected a list of names or a map of booleans")?;
    for (name, granted) in members {
        match granted {
            "true" if name.contains('\0') => return Err("holds U+0000"),
            "true" if !name.is_empty() => names.push(name.into_owned()),
            "true" | "false" | "null" => {}
            _ => return Err("expected true or false"),
        }
    }
    Ok(Permissions::new(names))
}

fn instant(timestamp: Option<&RawValue>, received_at: Timestamp) -> Result<Timestamp, Failure> {
    let Some(timestamp) = optional(timestamp, "timestamp")? else { return Ok(received_at) };
    let instant = Timestamp::parse(&timestamp)
        .ok_or_else(|| invalid("timestamp", "expected an RFC 3339 time between 1970 and 2262"))?;
    if instant.is_later_than(received_at, LATEST_NANOS) {
        return Err(invalid("timestamp", "more than 24 h after its receipt"));
    }
    Ok(instant)
}

fn optional<'a>(value: Option<&'a RawValue>, path: &str) -> Result<Option<Cow<'a, str>>, Failure> {
    value.map_or(Ok(None), |raw| json::storable_text(raw).map_err(|fault| invalid(path, fault)))
}

fn required<'a>(value: Option<&'a RawValue>, path: &str) -> Result<Cow<'a, str>, Failure> {
    optional(value, path)?.ok_or_else(|| invalid(path, "missing"))
}

fn at_most(characters: usize, text: Cow<'_, str>, path: &str) -> Result<String, Failure> {
    if text.chars().nth(characters).is_some() {
        return Err(invalid(path, "longer than 128 characters"));
    }
    Ok(text.into_owned())
}

fn published(event_type: &str) -> &'static str {
    IGNORED_TYPES.into_iter().find(|published| *published == event_type).unwrap_or(OTHER_TYPE)
}

fn malformed(reason: impl Into<String>) -> Failure {
    Failure::new(FailureClass::MalformedJson, reason)
}

fn invalid(field: &str, fault: Fault) -> Failure {
    Failure::new(FailureClass::InvalidWebhook, format!("{field}: {fault}"))
}
