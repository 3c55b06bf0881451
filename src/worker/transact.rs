//! The heart of the worker: what a batch says of bank links, in one transaction with the events that follow from it and the
//! letters that it ends.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::Worker;
use crate::broker::Message;
use crate::domain::bank_link::{Outcome, merge};
use crate::domain::event;
use crate::domain::webhook::{Kind, Webhook};
use crate::store::dead_letters::Resolution;
use crate::store::outbox::Append;
use crate::store::{self, Transaction, bank_links, dead_letters, outbox};

/// How often rows that others keep writing are read and merged again in one transaction.
const MAX_ROUNDS: usize = 5;

/// A webhook that speaks of a bank link, and where in the batch it stands.
pub(super) struct Spoken<'a> {
    pub(super) place: usize,
    pub(super) message: &'a Message,
    pub(super) webhook: Webhook,
}

/// What was written: what each webhook of the part came to, and how many events followed.
struct Written {
    outcomes: Vec<Outcome>,
    events: usize,
}

impl Worker {
    /// Writes the part, all of it or nothing.
    pub(super) async fn transact(&self, part: &[&Spoken<'_>]) -> Result<Vec<Outcome>, store::Error> {
        if part.is_empty() {
            return Ok(Vec::new());
        }
        let work = async {
            let transaction = self.store.begin().await?;
            match self.write_part(&transaction, part).await {
                Ok(written) => transaction.commit().await.map(|()| written),
                Err(cause) => {
                    // Whoever looks for locks next must not find this one's own. Why it failed says more than why this does.
                    let _ = transaction.rollback().await;
                    Err(cause)
                }
            }
        };
        let Written { outcomes, events } = store::with_deadline(store::DEADLINE, work).await?;
        if events > 0 {
            self.events_written.notify_one();
        }
        Ok(outcomes)
    }

    /// Reads the rows, merges, writes what nobody else has written meanwhile, appends the events, ends the letters.
    ///
    /// A link whose `entity.created` is in the batch is taken to be new, and is not read: nearly always it is. Where it is not,
    /// its write is refused, and it is read in the next round.
    async fn write_part(&self, transaction: &Transaction, part: &[&Spoken<'_>]) -> Result<Written, store::Error> {
        // Sorted by entity, so that two batches cannot wait for each other's rows.
        let mut by_entity = BTreeMap::<Uuid, Vec<usize>>::new();
        for (index, spoken) in part.iter().enumerate() {
            by_entity.entry(spoken.webhook.entity_id).or_default().push(index);
        }
        let mut entities: Vec<Uuid> = by_entity.keys().copied().collect();
        let begins = |id: &Uuid| by_entity[id].iter().any(|index| part[*index].webhook.kind == Kind::Created);
        let mut on_record: Vec<Uuid> = entities.iter().copied().filter(|id| !begins(id)).collect();
        // Whatever nobody decided would come back.
        let mut outcomes = vec![Outcome::NoSuchLink; part.len()];
        let mut events = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let rows = bank_links::read(transaction, &on_record).await?;
            let merged: Vec<_> = entities
                .iter()
                .map(|id| (id, rows.get(id), merge(rows.get(id), by_entity[id].iter().map(|i| &part[*i].webhook))))
                .collect();
            let changed: Vec<_> = merged.iter().filter_map(|(_, _, merged)| merged.after.as_ref()).collect();
            let written: HashSet<Uuid> = bank_links::upsert(transaction, &changed).await?.into_iter().collect();

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
                outbox::append(transaction, &events).await?;
                dead_letters::resolve(transaction, &resolutions(part, &outcomes)).await?;
                return Ok(Written { outcomes, events: events.len() });
            }
            on_record.clone_from(&lost);
            entities = lost;
        }
        Err(store::Error::Contended)
    }
}

fn caused_by(message: &Message, event: event::Event) -> Append {
    Append { event, received_at: message.received_at, traceparent: message.traceparent.clone() }
}

/// What the part's replayed messages, as far as they are handled, came to.
fn resolutions(part: &[&Spoken<'_>], outcomes: &[Outcome]) -> Vec<Resolution> {
    let handled = part.iter().zip(outcomes).filter_map(|(spoken, outcome)| match outcome {
        Outcome::Applied => resolution(spoken.message, "applied"),
        Outcome::Stale => resolution(spoken.message, "stale"),
        Outcome::NoSuchLink => None,
    });
    handled.collect()
}

/// How the letter of a replayed message ends; none for one that was not replayed.
pub(super) fn resolution(message: &Message, outcome: &'static str) -> Option<Resolution> {
    let replay = message.replay?;
    Some(Resolution { wire_id: message.id.clone(), body: message.body.clone(), replay, outcome })
}
