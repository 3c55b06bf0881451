//! What requests carry: query parameters, forms and JSON, with errors that name what is wrong.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::body::Bytes;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::problem::Problem;

/// Maximum length of a customer id (docs/CONTRACT.md#what-a-webhook-must-have).
const MAX_CUSTOMER_CHARS: usize = 128;

/// The parameters of a query or a form. Of a repeated one, the last counts.
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// A parameter's value, unless it is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| Problem::bad_request(format!("{name} is required")))
    }

    /// A parameter as `parse` reads it, or `None` if it is absent. `expected` says what it must be.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = || Problem::bad_request(format!("{name}: expected {expected}"));
        parse(value).map(Some).ok_or_else(wrong)
    }

    /// A whole number within `range`, or `None` if it is absent.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, Problem> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, &expected, |value| usize::from_str(value).ok().filter(|number| range.contains(number)))
    }
}

/// Reads a JSON body, whatever its content type.
pub(super) fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body: {error}")))
}

/// Checks that a customer id is one that webhooks may carry.
pub(super) fn check_customer_id(customer_id: &str) -> Result<(), Problem> {
    if (1..=MAX_CUSTOMER_CHARS).contains(&customer_id.chars().count()) && !customer_id.contains('\0') {
        return Ok(());
    }
    Err(Problem::bad_request("customer_id: expected 1 to 128 characters"))
}
