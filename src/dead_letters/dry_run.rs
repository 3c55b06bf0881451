//! The dry run: what replaying letters would do, by the merge that the worker uses, on the rows as they are, without
//! writing. Each letter sees what those before it would have done.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::received_at;
use crate::domain::bank_link::{BankLink, merge};
use crate::domain::event;
use crate::domain::outcome::{DeliveryResult, Outcome};
use crate::domain::webhook::{Parsed, parse};
use crate::store::dead_letters::Letter;
use crate::store::{self, Store, bank_links};

/// What replaying one letter would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRunResult {
    /// The letter.
    pub message_id: Uuid,
    /// `insert`, `update`, `stale`, `ignore` or `fail`.
    pub action: &'static str,
    /// Why it would fail.
    pub failure: Option<String>,
    /// The types of the events that would follow.
    pub events: Vec<&'static str>,
}

/// A rehearsal, and the rows as it has left them in mind.
pub struct DryRun {
    store: Store,
    /// Rows that were looked at; `None` where there is none.
    links: HashMap<Uuid, Option<BankLink>>,
}

impl DryRun {
    /// A rehearsal over the rows of that database.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, links: HashMap::new() }
    }

    /// What replaying those letters, in that order, after those before, would do.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn run(&mut self, letters: &[Letter]) -> Result<Vec<DryRunResult>, store::Error> {
        let parsed: Vec<_> = letters.iter().map(|letter| parse(&letter.body, received_at(letter))).collect();
        let spoken_of = parsed.iter().filter_map(|parsed| match parsed {
            Ok(Parsed::Link(webhook)) => Some(webhook.entity_id),
            _ => None,
        });
        let new: BTreeSet<Uuid> = spoken_of.filter(|id| !self.links.contains_key(id)).collect();
        let new: Vec<Uuid> = new.into_iter().collect();
        let mut rows = bank_links::read_committed(&self.store, &new).await?;
        self.links.extend(new.into_iter().map(|id| (id, rows.remove(&id))));

        let rehearsed = letters.iter().zip(parsed).map(|(letter, parsed)| {
            let result =
                |action, failure, events| DryRunResult { message_id: letter.message_id, action, failure, events };
            match parsed {
                Err(failure) => result("fail", Some(failure.to_string()), Vec::new()),
                Ok(Parsed::Ignored(_)) => result("ignore", None, Vec::new()),
                Ok(Parsed::Link(webhook)) => {
                    let before = self.links.entry(webhook.entity_id).or_default();
                    let merged = merge(before.as_ref(), [&webhook]);
                    let verdict = match (merged.results.first(), &before) {
                        (Some(DeliveryResult::Handled(Outcome::Applied)), None) => "insert",
                        (Some(DeliveryResult::Handled(Outcome::Applied)), Some(_)) => "update",
                        (Some(DeliveryResult::Failed(failure)), _) => {
                            return result("fail", Some(failure.to_string()), Vec::new());
                        }
                        _ => "stale",
                    };
                    let Some(after) = merged.after else { return result(verdict, None, Vec::new()) };
                    let follow = event::for_change(before.as_ref(), &after, "");
                    *before = Some(after);
                    result(verdict, None, follow.into_iter().map(|event| event.event_type).collect())
                }
            }
        });
        Ok(rehearsed.collect())
    }
}
