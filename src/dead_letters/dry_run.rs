//! Dry run: applies the worker's merge to the current rows without writing. Each letter sees the effects of those before it.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::received_at;
use crate::domain::bank_link::{BankLink, merge};
use crate::domain::event;
use crate::domain::failure::Failure;
use crate::domain::outcome::{DeliveryResult, Outcome};
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{Parsed, Webhook, parse};
use crate::store::letters::Letter;
use crate::store::{self, Store, bank_links};

/// What a replay of one letter would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRunAction {
    /// It would insert a bank link.
    Insert,
    /// It would update a bank link.
    Update,
    /// It would change nothing, because newer values are held.
    Stale,
    /// It would be ignored, because it is not about a bank link.
    Ignore,
    /// It would fail.
    Fail,
}

impl DryRunAction {
    /// The value of `would` in the JSON output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Stale => "stale",
            Self::Ignore => "ignore",
            Self::Fail => "fail",
        }
    }
}

/// The dry run of one letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRunResult {
    /// The letter's id.
    pub message_id: Uuid,
    /// What a replay would do.
    pub action: DryRunAction,
    /// Why it would fail.
    pub failure: Option<String>,
    /// The types of the events that would be published.
    pub events: Vec<&'static str>,
}

impl DryRunResult {
    /// The failure, or else the events, comma separated.
    #[must_use]
    pub fn detail(&self) -> String {
        self.failure.clone().unwrap_or_else(|| self.events.join(", "))
    }
}

/// A dry run in progress.
#[derive(Default)]
pub struct DryRun {
    /// The rows read so far, with the effects of the letters so far; `None` for a row that does not exist.
    links: HashMap<Uuid, Option<BankLink>>,
}

impl DryRun {
    /// What replaying `letters` would do to the bank links in `store`, in that order and after the letters of earlier calls.
    ///
    /// # Errors
    /// Any [`store::Error`], when the bank links cannot be read.
    pub async fn run(&mut self, store: &Store, letters: &[Letter]) -> Result<Vec<DryRunResult>, store::Error> {
        let now = Timestamp::now();
        let parsed: Vec<_> = letters.iter().map(|letter| parse(&letter.body, received_at(letter), now)).collect();
        let entities = parsed.iter().filter_map(|parsed| match parsed {
            Ok(Parsed::Link(webhook)) => Some(webhook.entity_id),
            _ => None,
        });
        let unread: BTreeSet<Uuid> = entities.filter(|id| !self.links.contains_key(id)).collect();
        let unread: Vec<Uuid> = unread.into_iter().collect();
        let mut rows = bank_links::read_committed(store, &unread).await?;
        self.links.extend(unread.into_iter().map(|id| (id, rows.remove(&id))));

        let results = letters.iter().zip(parsed).map(|(letter, parsed)| {
            let result = parsed.and_then(|parsed| match parsed {
                Parsed::Link(webhook) => self.apply(&webhook),
                Parsed::Ignored(_) => Ok((DryRunAction::Ignore, Vec::new())),
            });
            let (action, failure, events) = match result {
                Ok((action, events)) => (action, None, events),
                Err(failure) => (DryRunAction::Fail, Some(failure.to_string()), Vec::new()),
            };
            DryRunResult { message_id: letter.message_id, action, failure, events }
        });
        Ok(results.collect())
    }

    /// Merges `webhook` into its row. Returns the action and the types of the events.
    fn apply(&mut self, webhook: &Webhook) -> Result<(DryRunAction, Vec<&'static str>), Failure> {
        let row = self.links.entry(webhook.entity_id).or_default();
        let merged = merge(row.as_ref(), [webhook]);
        let action = match (merged.results.first(), &row) {
            (Some(DeliveryResult::Handled(Outcome::Applied)), None) => DryRunAction::Insert,
            (Some(DeliveryResult::Handled(Outcome::Applied)), Some(_)) => DryRunAction::Update,
            (Some(DeliveryResult::Failed(failure)), _) => return Err(failure.clone()),
            _ => DryRunAction::Stale,
        };
        let Some(after) = merged.after else { return Ok((action, Vec::new())) };
        let events = event::for_change(row.as_ref(), &after, "").into_iter().map(|event| event.event_type).collect();
        *row = Some(after);
        Ok((action, events))
    }
}
