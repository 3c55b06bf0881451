//! Applies a batch: parse each webhook, then one transaction for all that speak of bank links.
//!
//! A batch that fails because of one webhook is halved until that one stands alone; the rest go through.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use uuid::Uuid;

use super::Worker;
use super::decide::{Ended, Handled};
use crate::broker::Message;
use crate::domain::bank_link::{Outcome, merge};
use crate::domain::event;
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::webhook::{Kind, Parsed, Webhook, parse};
use crate::faults;
use crate::panics;
use crate::store::dead_letters::Resolution;
use crate::store::outbox::Append;
use crate::store::{self, bank_links, dead_letters, outbox};

/// How often rows that others keep writing are read and merged again in one transaction.
const MOST_ROUNDS: usize = 5;

/// A webhook that speaks of a bank link, and where in the batch it stands.
struct Spoken<'a> {
    place: usize,
    message: &'a Message,
    webhook: Webhook,
}

impl Worker {
    /// What each message of the batch came to, in its order.
    ///
    /// # Errors
    /// When the world is at fault, not a message: nothing is decided then, and the batch is to be applied again.
    pub(super) async fn apply(&self, batch: &[&Message]) -> Result<Vec<Handled>, store::Error> {
        let mut handled = Vec::with_capacity(batch.len());
        let mut spoken = Vec::new();
        for (place, message) in batch.iter().enumerate() {
            handled.push(match read(message) {
                Ok(Parsed::Ignored(event_type)) => Ok(Ended::Ignored(event_type)),
                Ok(Parsed::Link(webhook)) => {
                    spoken.push(Spoken { place, message, webhook });
                    Ok(Ended::Stale)
                }
                Err(failure) => Err(failure),
            });
        }
        self.resolve_ignored(batch, &handled).await?;
        let mut parts = vec![spoken.as_slice()];
        while let Some(part) = parts.pop() {
            let failure = match AssertUnwindSafe(self.transact(part)).catch_unwind().await {
                Ok(Ok(outcomes)) => {
                    for (spoken, outcome) in part.iter().zip(outcomes) {
                        handled[spoken.place] = ended(outcome);
                    }
                    continue;
                }
                Ok(Err(store::Error::Rejected(reason))) => Failure::new(FailureClass::RejectedByDatabase, reason),
                Ok(Err(away)) => return Err(away),
                Err(_) => panicked(),
            };
            match part {
                [alone] => handled[alone.place] = Err(failure),
                several => {
                    let (first, second) = several.split_at(several.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(handled)
    }

    /// A replayed message that turns out to be none of our business ends its letter like any other.
    async fn resolve_ignored(&self, batch: &[&Message], handled: &[Handled]) -> Result<(), store::Error> {
        let ignored = batch.iter().zip(handled).filter(|(_, handled)| matches!(handled, Ok(Ended::Ignored(_))));
        let resolutions: Vec<Resolution> = ignored.filter_map(|(message, _)| resolution(message, "ignored")).collect();
        if resolutions.is_empty() {
            return Ok(());
        }
        store::in_time(store::DEADLINE, async {
            let transaction = self.store.begin().await?;
            dead_letters::resolve(&transaction, &resolutions).await?;
            transaction.commit().await
        })
        .await
    }

    /// One transaction: read the rows, merge, write what nobody else has written meanwhile, append the events.
    ///
    /// A link that the batch tells the beginning of is taken to have no row yet, and none is read: nearly always that is so,
    /// and where it is not, writing the row says so.
    async fn transact(&self, part: &[Spoken<'_>]) -> Result<Vec<Outcome>, store::Error> {
        if part.is_empty() {
            return Ok(Vec::new());
        }
        // Sorted by entity, so that two batches cannot wait for each other's rows.
        let mut by_entity = BTreeMap::<Uuid, Vec<usize>>::new();
        for (index, spoken) in part.iter().enumerate() {
            by_entity.entry(spoken.webhook.entity_id).or_default().push(index);
        }
        let mut outcomes = vec![Outcome::Stale; part.len()];
        let work = async {
            let transaction = self.store.begin().await?;
            let mut entities: Vec<Uuid> = by_entity.keys().copied().collect();
            let begins = |id: &Uuid| by_entity[id].iter().any(|index| part[*index].webhook.kind == Kind::Created);
            let mut on_record: Vec<Uuid> = entities.iter().copied().filter(|id| !begins(id)).collect();
            let mut events = Vec::new();
            for _ in 0..MOST_ROUNDS {
                let rows = bank_links::read(&transaction, &on_record).await?;
                let merged: Vec<_> = entities
                    .iter()
                    .map(|id| (id, rows.get(id), merge(rows.get(id), by_entity[id].iter().map(|i| &part[*i].webhook))))
                    .collect();
                let changed: Vec<_> = merged.iter().filter_map(|(_, _, merged)| merged.after.as_ref()).collect();
                let written: HashSet<Uuid> = bank_links::upsert(&transaction, &changed).await?.into_iter().collect();

                let mut lost = Vec::new();
                for (id, before, merged) in &merged {
                    if merged.after.is_some() && !written.contains(id) {
                        lost.push(**id);
                        continue;
                    }
                    let places = &by_entity[id];
                    for (index, outcome) in places.iter().zip(&merged.outcomes) {
                        outcomes[*index] = *outcome;
                    }
                    if let Some(after) = &merged.after {
                        let cause = places.iter().rev().find(|index| outcomes[**index] == Outcome::Applied);
                        let cause = &part[*cause.unwrap_or(&places[0])];
                        let follow = event::between(*before, after, &self.settings.event_source);
                        events.extend(follow.into_iter().map(|event| (cause.place, caused_by(cause.message, event))));
                    }
                }
                if lost.is_empty() {
                    // In the order of the queue again.
                    events.sort_by_key(|(place, _)| *place);
                    let events: Vec<Append> = events.into_iter().map(|(_, event)| event).collect();
                    outbox::append(&transaction, &events).await?;
                    dead_letters::resolve(&transaction, &resolutions(part, &outcomes)).await?;
                    transaction.commit().await?;
                    return Ok(!events.is_empty());
                }
                on_record.clone_from(&lost);
                entities = lost;
            }
            Err(store::Error::Contended)
        };
        let announced = store::in_time(store::DEADLINE, work).await?;
        if announced {
            self.events_written.notify_one();
        }
        Ok(outcomes)
    }
}

fn caused_by(message: &Message, event: event::Event) -> Append {
    Append { event, received_at: message.received_at, traceparent: message.traceparent.clone() }
}

/// What the part's replayed messages, as far as they are handled, came to.
fn resolutions(part: &[Spoken<'_>], outcomes: &[Outcome]) -> Vec<Resolution> {
    let handled = part.iter().zip(outcomes).filter_map(|(spoken, outcome)| match outcome {
        Outcome::Applied => resolution(spoken.message, "applied"),
        Outcome::Stale => resolution(spoken.message, "stale"),
        Outcome::NoSuchLink => None,
    });
    handled.collect()
}

fn resolution(message: &Message, outcome: &'static str) -> Option<Resolution> {
    let replay = message.replay?;
    Some(Resolution { wire_id: message.id.clone(), body: message.body.clone(), replay, outcome })
}

fn ended(outcome: Outcome) -> Handled {
    match outcome {
        Outcome::Applied => Ok(Ended::Applied),
        Outcome::Stale => Ok(Ended::Stale),
        Outcome::NoSuchLink => {
            Err(Failure::new(FailureClass::UnknownEntity, "payload.id: no bank link of this entity is known"))
        }
    }
}

/// Parses; a panic is a failed attempt, not the end of the process.
fn read(message: &Message) -> Result<Parsed, Failure> {
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        faults::strike_for(&message.body);
        parse(&message.body, message.received_at)
    }));
    parsed.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Failure {
    let reason = panics::last_place().map_or_else(|| "a panic".to_owned(), |place| format!("a panic at {place}"));
    Failure::new(FailureClass::Panicked, reason)
}
