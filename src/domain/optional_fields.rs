//! Reads the optional members of a webhook. One that cannot be read is left out and reported, so that a cosmetic change at
//! Lean does not kill links.
//!
//! The rules are in docs/CONTRACT.md#what-a-webhook-must-have.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::field::Field;
use super::json::{self, Fault, Object};

/// The label under which a `bank_details` that is not an object is counted. The other labels are names of fields.
pub const UNREADABLE_BANK_DETAILS: &str = "bank_details";

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
/// Members of `payload` beside `bank_details`. Lean's Data API has the bank's identifier and type here; `bank_details` takes
/// precedence.
const PAYLOAD_TEXTS: [(&str, Field); 4] = [
    ("payload.app_user_id", Field::AppUserId),
    ("payload.end_user_id", Field::EndUserId),
    ("payload.bank_identifier", Field::BankIdentifier),
    ("payload.bank_type", Field::BankType),
];
/// Maximum length of the value of a field, in bytes.
const MAX_VALUE_BYTES: usize = 1024;

/// The fields that a webhook carries, and those that it has but that cannot be read.
#[derive(Default)]
pub struct Values {
    /// Each carried field with its value.
    pub carried: Vec<(Field, String)>,
    /// The name of each field that could not be read, or [`UNREADABLE_BANK_DETAILS`].
    pub unreadable: Vec<&'static str>,
}

impl Values {
    /// Reads the optional members of `payload`.
    ///
    /// # Errors
    /// [`crate::domain::failure::FailureClass::InvalidWebhook`] when a value that is to be stored holds U+0000.
    pub fn read_payload(&mut self, payload: &Object<'_>) -> Result<(), Failure> {
        match payload.get("bank_details").map(Object::parse) {
            Some(Ok(bank_details)) => {
                for (path, field) in BANK_DETAILS {
                    self.read(&bank_details, path, field)?;
                }
            }
            Some(Err(_)) => self.unreadable.push(UNREADABLE_BANK_DETAILS),
            None => {}
        }
        for (path, field) in PAYLOAD_TEXTS {
            if !self.carried.iter().any(|(carried, _)| *carried == field) {
                self.read(payload, path, field)?;
            }
        }
        if let Some(raw) = payload.get("permissions") {
            let path = "payload.permissions";
            let names = permissions(raw);
            for name in names.iter().flatten() {
                json::storable(name).map_err(|fault| Failure::invalid_webhook(path, fault))?;
            }
            // Two values with the same timestamp are compared by this text.
            self.keep(path, Field::Permissions, names.map(|names| Value::from_iter(names).to_string()))?;
        }
        Ok(())
    }

    /// Reads a text. `path` leads to it from the webhook's root; its last segment is its name in `object`.
    ///
    /// # Errors
    /// [`crate::domain::failure::FailureClass::InvalidWebhook`] when it holds U+0000.
    pub fn read(&mut self, object: &Object<'_>, path: &'static str, field: Field) -> Result<(), Failure> {
        match object.at(path).map(json::text) {
            Some(Ok(Some(text))) => self.keep(path, field, Ok(text.into_owned())),
            Some(Err(fault)) => self.keep(path, field, Err(fault)),
            Some(Ok(None)) | None => Ok(()),
        }
    }

    fn keep(&mut self, path: &str, field: Field, value: Result<String, Fault>) -> Result<(), Failure> {
        match value {
            Ok(value) if value.len() <= MAX_VALUE_BYTES => {
                json::storable(&value).map_err(|fault| Failure::invalid_webhook(path, fault))?;
                self.carried.push((field, value));
            }
            Ok(_) | Err(_) => self.unreadable.push(field.name()),
        }
        Ok(())
    }
}

/// Reads permissions, documented or not, from an array of names (webhooks) or an object of booleans (Lean's Data API).
fn permissions(raw: &RawValue) -> Result<BTreeSet<String>, Fault> {
    let mut names = BTreeSet::new();
    if raw.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| "expected names")?;
        for item in items {
            names.extend(json::text(item)?.map(Cow::into_owned));
        }
        return Ok(names);
    }
    let object = Object::parse(raw).map_err(|_| "expected a list of names or a map of booleans")?;
    for (name, granted) in object.members() {
        match granted.get() {
            "true" if !name.is_empty() => drop(names.insert(name.to_owned())),
            "true" | "false" | "null" => {}
            _ => return Err("expected true or false"),
        }
    }
    Ok(names)
}
