//! One transaction: reads the rows, merges them with the webhooks, writes rows and events, and resolves replayed letters.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::write::{IndexedResult, PendingWrite, Writer};
use crate::broker::Message;
use crate::domain::bank_link::{BankLink, Merged, merge};
use crate::domain::event;
use crate::domain::outcome::{DeliveryResult, Outcome};
use crate::domain::webhook::Kind;
use crate::store::handover::Reservation;
use crate::store::letters::ResolvedMessage;
use crate::store::outbox::NewEvent;
use crate::store::{self, Operation, Transaction, bank_links, letters, outbox};

/// How often rows that other workers keep changing are read and merged in one transaction.
const MAX_ROUNDS: usize = 5;

/// What a transaction has written so far.
#[derive(Default)]
struct Written<'a> {
    results: Vec<(&'a PendingWrite<'a>, DeliveryResult)>,
    /// Each event with the position in the batch of the webhook that caused it.
    events: Vec<(usize, NewEvent)>,
}

impl Writer {
    /// Writes a part of the batch, all of it or nothing.
    ///
    /// # Errors
    /// [`store::Error::Contended`] if other workers kept changing the same rows; else the database's error.
    pub(super) async fn write_part<'a>(
        &self,
        part: &[&'a PendingWrite<'a>],
        parent: Option<&str>,
    ) -> Result<Vec<IndexedResult>, store::Error> {
        if part.is_empty() {
            return Ok(Vec::new());
        }
        let operation = Operation { name: "upsert", table: "bank_links", batch_size: part.len() };
        let reservation = self.handover.reserve();
        let leased_until = reservation.as_ref().map(Reservation::leased_until);
        let apply = async |transaction: &Transaction| self.apply(transaction, part, leased_until).await;
        let (results, events) = self.store.transaction_in_span(operation, parent, apply).await?;
        match reservation {
            _ if events.is_empty() => {}
            Some(reservation) => reservation.hand_over(events),
            None => self.handover.notify_claimable(),
        }
        Ok(results)
    }

    /// Makes every change of the part; returns the results and the events written.
    async fn apply<'a>(
        &self,
        transaction: &Transaction,
        part: &[&'a PendingWrite<'a>],
        leased_until: Option<DateTime<Utc>>,
    ) -> Result<(Vec<IndexedResult>, Vec<NewEvent>), store::Error> {
        let Written { mut results, mut events } = self.merge_links(transaction, part).await?;
        let ignored = part.iter().filter(|write| write.webhook.is_none());
        results.extend(ignored.map(|write| (*write, DeliveryResult::Handled(Outcome::Ignored))));

        // The relay publishes them in the order of the queue.
        events.sort_by_key(|(index, _)| *index);
        let events: Vec<NewEvent> = events.into_iter().map(|(_, event)| event).collect();
        outbox::append(transaction, &events, leased_until).await?;

        let resolved: Vec<_> = results.iter().filter_map(|(write, result)| resolved(write, result)).collect();
        letters::resolve(transaction, &resolved).await?;
        Ok((results.into_iter().map(|(write, result)| (write.index, result)).collect(), events))
    }

    /// Reads, merges and writes the bank links, and again those that another worker wrote in between.
    ///
    /// A link whose `entity.created` is in the part is taken to be new and not read at first, because it nearly always is. If
    /// it is not, its write is refused and the next round reads it.
    async fn merge_links<'a>(
        &self,
        transaction: &Transaction,
        part: &[&'a PendingWrite<'a>],
    ) -> Result<Written<'a>, store::Error> {
        let mut written = Written::default();
        let mut pending = by_entity(part);
        let mut to_read: Vec<Uuid> =
            pending.iter().filter(|(_, writes)| !creates(writes)).map(|(entity, _)| *entity).collect();
        for _ in 0..MAX_ROUNDS {
            if pending.is_empty() {
                break;
            }
            let rows = bank_links::read_in_transaction(transaction, &to_read).await?;
            let merged = merge_all(&pending, &rows);
            let changed: Vec<&BankLink> = merged.values().filter_map(|merged| merged.after.as_ref()).collect();
            let stored: HashSet<Uuid> = bank_links::upsert(transaction, &changed).await?.into_iter().collect();
            for (entity, merged) in merged {
                if merged.after.is_none() || stored.contains(&entity) {
                    let writes = pending.remove(&entity).unwrap_or_default();
                    written.add(writes, rows.get(&entity), merged, &self.event_source);
                }
            }
            to_read = pending.keys().copied().collect();
        }
        if pending.is_empty() { Ok(written) } else { Err(store::Error::Contended) }
    }
}

/// The writes to each bank link, in queue order. Sorted by entity, so that two transactions lock rows in the same order.
fn by_entity<'a>(part: &[&'a PendingWrite<'a>]) -> BTreeMap<Uuid, Vec<&'a PendingWrite<'a>>> {
    let mut writes = BTreeMap::<Uuid, Vec<_>>::new();
    for write in part {
        if let Some(entity) = write.entity_id() {
            writes.entry(entity).or_default().push(*write);
        }
    }
    writes
}

fn creates(writes: &[&PendingWrite<'_>]) -> bool {
    writes.iter().filter_map(|write| write.webhook).any(|webhook| webhook.kind == Kind::Created)
}

fn merge_all(
    pending: &BTreeMap<Uuid, Vec<&PendingWrite<'_>>>,
    rows: &HashMap<Uuid, BankLink>,
) -> BTreeMap<Uuid, Merged> {
    let merged = |(entity, writes): (&Uuid, &Vec<&PendingWrite<'_>>)| {
        (*entity, merge(rows.get(entity), writes.iter().filter_map(|write| write.webhook)))
    };
    pending.iter().map(merged).collect()
}

impl<'a> Written<'a> {
    /// Adds one bank link: the result of each webhook about it and the events that follow from the change.
    fn add(
        &mut self,
        writes: Vec<&'a PendingWrite<'a>>,
        before: Option<&BankLink>,
        merged: Merged,
        event_source: &str,
    ) {
        if let Some(after) = &merged.after {
            let applied = DeliveryResult::Handled(Outcome::Applied);
            let last_applied = writes.iter().zip(&merged.results).rfind(|(_, result)| **result == applied);
            if let Some((cause, _)) = last_applied {
                let events = event::for_change(before, after, event_source);
                self.events.extend(events.into_iter().map(|event| (cause.index, new_event(event, cause.message))));
            }
        }
        self.results.extend(writes.into_iter().zip(merged.results));
    }
}

fn new_event(event: event::Event, cause: &Message) -> NewEvent {
    NewEvent { event, received_at: cause.received_at, traceparent: cause.traceparent.clone() }
}

/// How the dead letter of a replayed message ends. `None` if the message was not replayed, or was not handled.
fn resolved(write: &PendingWrite<'_>, result: &DeliveryResult) -> Option<ResolvedMessage> {
    let (DeliveryResult::Handled(outcome), Some(replay)) = (result, write.message.replay) else { return None };
    let Message { id, body, received_at, .. } = write.message;
    Some(ResolvedMessage {
        wire_id: id.clone(),
        body: body.clone(),
        received_at: *received_at,
        replay,
        outcome: *outcome,
    })
}
