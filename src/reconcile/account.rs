//! Accounts for the webhooks of one page: the worker's own parse and merge decide, without writing, what is missing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use uuid::Uuid;

use crate::domain::dead_letter::{State, fingerprint};
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::listed::ListedWebhook;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{Parsed, Webhook, peek_type_and_entity};
use crate::store::letters::{Letter, ListedKeys, of_listed};
use crate::store::reconcile_runs::Counts;
use crate::store::{self, Store, bank_links};

/// The outcome of a letter whose webhook an operator replaced by an edited one.
const EDITED: &str = "edited";

/// The webhooks of a page, counted, and those of them that are missing.
pub(super) struct Accounted {
    pub(super) counts: Counts,
    pub(super) missing: Vec<ListedWebhook>,
}

/// Compares `webhooks` with what is committed.
///
/// A webhook counts as known only because of the committed row, not because of another webhook that this run sends: that one may yet
/// die. So of two missing webhooks about one link both are sent, and the worker finds out whether one of them is stale.
pub(super) async fn account(store: &Store, webhooks: Vec<ListedWebhook>) -> Result<Accounted, store::Error> {
    let (mut counts, mut undecided) = (Counts::default(), Vec::new());
    let mut links = Vec::new();
    for listed in webhooks {
        match parse(&listed) {
            Ok(Parsed::Ignored(_)) => counts.ignored += 1,
            Ok(Parsed::Link(webhook)) => links.push((listed, webhook)),
            Err(failure) => undecided.push((listed, Err(failure))),
        }
    }
    let mut ids: Vec<Uuid> = links.iter().map(|(_, webhook)| webhook.entity_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows = bank_links::read_committed(store, &ids).await?;
    for (listed, webhook) in links {
        match listed.is_held(rows.get(&webhook.entity_id), &webhook) {
            true => counts.known += 1,
            false => undecided.push((listed, Ok(webhook))),
        }
    }
    let letters = if undecided.is_empty() { Vec::new() } else { of_listed(store, &keys(&undecided)).await? };
    let mut missing = Vec::new();
    for (listed, _) in undecided {
        match letters.iter().find(|letter| is_letter_of(letter, &listed)) {
            Some(letter) if letter.outcome.as_deref() == Some(EDITED) => counts.known += 1,
            Some(_) => counts.dead += 1,
            None => missing.push(listed),
        }
    }
    // A reconnect is worth nothing before its link, so what makes links goes first.
    missing.sort_by_cached_key(|listed| peek_type_and_entity(&listed.body).0.as_deref() == Some("entity.reconnected"));
    Ok(Accounted { counts, missing })
}

/// A panic of the parser is a failure of this one webhook, as it is in the worker.
fn parse(listed: &ListedWebhook) -> Result<Parsed, Failure> {
    let parsed = catch_unwind(AssertUnwindSafe(|| listed.parse(Timestamp::now())));
    parsed.unwrap_or_else(|_| Err(Failure::new(FailureClass::Panicked, "a panic")))
}

/// Where the letters of `undecided` may be found.
fn keys(undecided: &[(ListedWebhook, Result<Webhook, Failure>)]) -> ListedKeys {
    let mut keys = ListedKeys::default();
    for (listed, webhook) in undecided {
        keys.message_ids.insert(listed.message_id);
        let entity_id =
            webhook.as_ref().map_or_else(|_| peek_type_and_entity(&listed.body).1, |link| Some(link.entity_id));
        match (entity_id, webhook) {
            (Some(entity_id), _) => keys.entity_ids.extend([entity_id]),
            (None, Err(failure)) => keys.fingerprints.extend([fingerprint(failure.class, &failure.reason)]),
            (None, Ok(_)) => {}
        }
    }
    keys
}

/// Whether `letter` accounts for `listed`: it is open, an operator discarded it, or an edited message replaced it. A letter that a
/// replay has resolved says nothing that the row does not say.
fn is_letter_of(letter: &Letter, listed: &ListedWebhook) -> bool {
    let counts = match State::parse(&letter.state) {
        Some(State::Dead | State::Replaying | State::Discarded) => true,
        Some(State::Resolved) => letter.outcome.as_deref() == Some(EDITED),
        None => false,
    };
    counts && (letter.message_id == listed.message_id || listed.is_same(&letter.body))
}
