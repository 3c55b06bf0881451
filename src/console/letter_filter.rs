//! The filter of a list of letters, as a page's address holds it: the same conditions as the command line's.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::fault::Fault;
use super::fields::{Fields, query};
use crate::domain::dead_letter::State;
use crate::domain::failure::FailureClass;
use crate::escape::escaped;
use crate::store::letters::{Filter, Position};
use crate::times::parse_time;

/// The names of the fields.
const NAMES: [&str; 7] = ["class", "type", "entity", "fingerprint", "since", "until", "state"];
/// The value of `state` that matches every state.
pub(super) const ANY: &str = "any";

/// A filter, and how it was written.
pub(super) struct LetterFilter {
    /// Without a limit. Only what is dead, unless the address says otherwise.
    pub(super) filter: Filter,
    written: Vec<(&'static str, Option<String>)>,
}

impl LetterFilter {
    /// The filter in the fields of an address or a form.
    pub(super) fn read(fields: &Fields) -> Result<Self, Fault> {
        let invalid =
            |name: &str, expected: &str| Fault::Invalid(format!("The filter “{name}” is wrong: expected {expected}."));
        let time = |name| -> Result<Option<DateTime<Utc>>, Fault> {
            fields.get(name).map(|text| parse_time(text).map_err(|expected| invalid(name, expected))).transpose()
        };
        let class = match fields.get("class") {
            Some(class) => Some(FailureClass::parse(class).ok_or_else(|| invalid("class", "a failure class"))?),
            None => None,
        };
        let entity: Option<Uuid> = match fields.get("entity") {
            Some(entity) => Some(entity.parse().map_err(|_| invalid("entity", "a UUID"))?),
            None => None,
        };
        let state = match fields.get("state") {
            None => Some(State::Dead),
            Some(ANY) => None,
            Some(state) => Some(State::parse(state).ok_or_else(|| invalid("state", "a state"))?),
        };
        for name in ["type", "fingerprint"] {
            if fields.get(name).is_some_and(|value| escaped(value) != value) {
                return Err(invalid(name, "characters that can be seen"));
            }
        }
        let filter = Filter {
            class,
            entity,
            state,
            event_type: fields.get("type").map(str::to_owned),
            fingerprint: fields.get("fingerprint").map(str::to_owned),
            since: time("since")?,
            until: time("until")?,
            ..Filter::default()
        };
        Ok(Self { filter, written: NAMES.map(|name| (name, fields.get(name).map(str::to_owned))).to_vec() })
    }

    /// How the field was written; empty if it was not.
    pub(super) fn written(&self, name: &str) -> &str {
        self.fields().find(|(field, _)| *field == name).map_or("", |(_, value)| value)
    }

    /// The fields that were written.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.written.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)))
    }

    /// Whether any condition besides the state was written.
    pub(super) fn is_narrowed(&self) -> bool {
        self.fields().any(|(name, _)| name != "state")
    }

    /// The address of the same list, from a place on.
    pub(super) fn query(&self, after: Option<Position>) -> String {
        let after = after.map(|after| format!("{}~{}", after.died_at.timestamp_micros(), after.id));
        query(self.written.iter().cloned().chain([("after", after)]))
    }
}

/// The place that an address names.
pub(super) fn position(fields: &Fields) -> Result<Option<Position>, Fault> {
    let read = |text: &str| {
        let (micros, id) = text.split_once('~')?;
        Some(Position { died_at: DateTime::from_timestamp_micros(micros.parse().ok()?)?, id: id.parse().ok()? })
    };
    let invalid = || Fault::Invalid("The place in the list is wrong: follow a link to it.".to_owned());
    fields.get("after").map(|text| read(text).ok_or_else(invalid)).transpose()
}
