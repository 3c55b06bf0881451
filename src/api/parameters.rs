//! The parameters of requests, and what is valid.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Deserialize;

use super::problem::Problem;

/// Maximum time that a request may ask to wait.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);
/// Maximum length of a customer's id, in characters: that of a webhook (docs/CONTRACT.md#what-a-webhook-must-have).
const MAX_CUSTOMER_ID: usize = 128;

/// The customer of the path.
pub(super) struct CustomerId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for CustomerId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::<String>::from_request_parts(parts, state).await.map_or_else(|_| String::new(), |path| path.0);
        let is_valid = (1..=MAX_CUSTOMER_ID).contains(&id.chars().count()) && !id.contains('\0');
        is_valid
            .then_some(Self(id))
            .ok_or(Problem::Invalid("customer_id: expected 1 to 128 characters, none of them U+0000"))
    }
}

/// How long to wait for which change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WaitFor {
    /// How long to wait at most; zero answers at once.
    pub(super) wait: Duration,
    /// What the requester has; without one, an empty list.
    pub(super) cursor: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for WaitFor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parameters {
            wait: Option<String>,
            cursor: Option<String>,
        }
        let invalid = Problem::Invalid("expected no parameters but `wait` and `cursor`, each once");
        let Ok(Query(parameters)) = Query::<Parameters>::from_request_parts(parts, state).await else {
            return Err(invalid);
        };
        let wait = parameters.wait.map_or(Some(Duration::ZERO), |text| duration(&text));
        let wait = wait.ok_or(Problem::Invalid("wait: expected a duration of at most 60s, such as 30s or 500ms"))?;
        Ok(Self { wait, cursor: parameters.cursor })
    }
}

/// Reads a whole number and its unit, at most a minute: up to two digits and `s`, one and `m`, five and `ms`. The document of the API
/// says the same in a pattern.
fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (unit, max_digits) = match unit {
        "ms" => (Duration::from_millis(1), 5),
        "s" => (Duration::from_secs(1), 2),
        "m" => (Duration::from_secs(60), 1),
        _ => return None,
    };
    let number: u32 = digits.parse().ok().filter(|_| digits.len() <= max_digits)?;
    Some(unit * number).filter(|wait| *wait <= MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_with_a_unit_of_at_most_a_minute() {
        let millis = |text| duration(text).map(|wait| wait.as_millis());
        assert_eq!(["0s", "500ms", "30s", "1m", "60000ms"].map(millis), [0, 500, 30_000, 60_000, 60_000].map(Some));
        for text in ["", "30", "s", "61s", "2m", "-1s", "1.5s", "1 s", "1h", "+1s", "001s", "00m", "١s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
