//! The letters that a form is about: those that were ticked, or all that match a filter at the moment when it was first submitted.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use uuid::Uuid;

use super::fault::Fault;
use super::fields::Fields;
use super::letter_filter::LetterFilter;
use crate::escape::escaped;
use crate::store::letters::Filter;
use crate::times::time;

/// Maximum number of ids in a form.
const MAX_IDS: usize = 500;
/// The value of the field `scope` that means all that match the filter.
pub(super) const ALL: &str = "all";

/// The letters that a form is about.
pub(super) struct Selection {
    pub(super) filter: Filter,
    /// The conditions with absolute times, as fields; none if letters were ticked.
    written: Vec<(&'static str, String)>,
}

impl Selection {
    /// The selection of a form: all that match if it says so, else the letters that it names.
    pub(super) fn read(fields: &Fields) -> Result<Self, Fault> {
        let ids = fields.ids("id")?;
        if fields.get("scope") == Some(ALL) {
            return Ok(Self::matching(&LetterFilter::read(fields)?));
        }
        match ids.len() {
            0 => Err(Fault::Invalid("Tick at least one letter.".to_owned())),
            1..=MAX_IDS => Ok(Self { filter: Filter { ids, ..Filter::default() }, written: Vec::new() }),
            _ => Err(Fault::Invalid(format!("Tick at most {MAX_IDS} letters, or select them by a filter."))),
        }
    }

    /// What matches now. What dies later is not among it, and an age means the same time on every page.
    fn matching(filter: &LetterFilter) -> Self {
        let (now, conditions) = (Utc::now(), &filter.filter);
        let until = conditions.until.map_or(now, |until| until.min(now));
        let absolute = |at: DateTime<Utc>| Some(time(at));
        let written = filter.fields().filter_map(|(name, value)| {
            let value = match name {
                "since" => conditions.since.and_then(absolute),
                "until" => None,
                _ => Some(value.to_owned()),
            };
            value.map(|value| (name, value))
        });
        let written = written.chain([("until", time(until))]).collect();
        Self { filter: Filter { until: Some(until), ..conditions.clone() }, written }
    }

    /// The letter, if one was named alone.
    pub(super) fn only(&self) -> Option<Uuid> {
        match self.filter.ids.as_slice() {
            [id] => Some(*id),
            _ => None,
        }
    }

    /// The conditions, for people.
    pub(super) fn conditions(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.written.iter().map(|(name, value)| (*name, escaped(value).into_owned()))
    }

    /// The selection as hidden fields of a form.
    pub(super) fn hidden(&self) -> Markup {
        html! {
            @for id in &self.filter.ids { input type="hidden" name="id" value=(id); }
            @if self.filter.ids.is_empty() {
                input type="hidden" name="scope" value=(ALL);
                @for (name, value) in &self.written { input type="hidden" name=(name) value=(value); }
            }
        }
    }
}
