//! A bank link as a row, and back.
//!
//! The instant of each value goes into one compact column, and only where it differs from the row's own `version`: after an
//! `entity.created` that is none of them.

use chrono::{DateTime, Utc};
use entity::bank_link::Model;
use serde_json::{Map, Value};

use super::Error;
use crate::domain::bank_link::{BankLink, FieldValue};
use crate::domain::field::Field;
use crate::domain::timestamp::Timestamp;

const LINKED_AT: &str = "linked_at";
const RECONNECTED_AT: &str = "reconnected_at";

/// The row for `link`, written at `now`.
pub(super) fn to_row(link: &BankLink, now: DateTime<Utc>) -> Model {
    let text = |field| link.get(field).map(str::to_owned);
    Model {
        entity_id: link.entity_id,
        customer_id: text(Field::CustomerId).unwrap_or_default(),
        app_user_id: text(Field::AppUserId),
        bank_identifier: text(Field::BankIdentifier),
        bank_name: text(Field::BankName),
        bank_logo: text(Field::BankLogo),
        bank_main_color: text(Field::BankMainColor),
        bank_background_color: text(Field::BankBackgroundColor),
        bank_swift_code: text(Field::BankSwiftCode),
        bank_account_type: text(Field::BankAccountType),
        bank_type: text(Field::BankType),
        permissions: serde_json::from_str(link.permissions()).unwrap_or_default(),
        linked_at: link.linked_at.map(Timestamp::to_micros),
        reconnected_at: link.reconnected_at.map(Timestamp::to_micros),
        occurred_at: link.version.to_micros(),
        version: link.version.nanos(),
        revision: link.revision,
        last_event_id: text(Field::LastEventId),
        instants: Value::Object(instants(link)),
        created_at: now,
        updated_at: now,
    }
}

/// The bank link in `row`.
///
/// # Errors
/// [`Error::InvalidRow`] when the row was written by something else and makes no sense: other rows are not affected.
pub(super) fn from_row(row: Model) -> Result<BankLink, Error> {
    let nonsense = || Error::InvalidRow("the row on record makes no sense".to_owned());
    let version = Timestamp::from_nanos(row.version).ok_or_else(nonsense)?;
    let instants = row.instants.as_object().ok_or_else(nonsense)?;
    let since = |name: &str| match instants.get(name) {
        None => Ok(Some(version)),
        Some(Value::Null) => Ok(None),
        Some(instant) => instant.as_i64().and_then(Timestamp::from_nanos).map(Some).ok_or_else(nonsense),
    };
    let permissions = row.permissions.to_string();
    // In the order of `Field::ALL`.
    let values = [
        Some(row.customer_id),
        row.app_user_id,
        row.bank_identifier,
        row.bank_name,
        row.bank_logo,
        row.bank_main_color,
        row.bank_background_color,
        row.bank_swift_code,
        row.bank_account_type,
        row.bank_type,
        Some(permissions),
        row.last_event_id,
    ];
    let mut fields = <[Option<FieldValue>; 12]>::default();
    for ((held, field), value) in fields.iter_mut().zip(Field::ALL).zip(values) {
        *held = match (value, since(field.name())?) {
            (Some(value), Some(since)) => Some(FieldValue { since, value }),
            _ => None,
        };
    }
    Ok(BankLink {
        entity_id: row.entity_id,
        fields,
        linked_at: if row.linked_at.is_some() { since(LINKED_AT)? } else { None },
        reconnected_at: if row.reconnected_at.is_some() { since(RECONNECTED_AT)? } else { None },
        version,
        revision: row.revision,
    })
}

/// The instants that `version` does not tell; `null` says that nobody has spoken of the permissions.
fn instants(link: &BankLink) -> Map<String, Value> {
    let fields =
        Field::ALL.into_iter().zip(&link.fields).map(|(field, held)| (field.name(), held.as_ref().map(|h| h.since)));
    let times = [(LINKED_AT, link.linked_at), (RECONNECTED_AT, link.reconnected_at)];
    let mut instants = Map::new();
    for (name, since) in fields.chain(times) {
        match since {
            Some(since) if since != link.version => {
                instants.insert(name.to_owned(), since.nanos().into());
            }
            None if name == Field::Permissions.name() => {
                instants.insert(name.to_owned(), Value::Null);
            }
            _ => {}
        }
    }
    instants
}
