//! Sorts out what a batch has to write to the database. `isolate` writes it, in parts.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::parse::ParsedDelivery;
use crate::broker::Message;
use crate::domain::dead_letter::letter_ids;
use crate::domain::outcome::{DeliveryResult, Outcome};
use crate::domain::webhook::{Parsed, Webhook};
use crate::store::handover::Handover;
use crate::store::{self, Store};

/// What one delivery writes: its webhook to a bank link or, for a replayed message of an ignored type, only the end of its
/// dead letter.
pub(super) struct PendingWrite<'a> {
    /// The delivery's position in the batch.
    pub(super) index: usize,
    pub(super) message: &'a Message,
    /// `None` for an ignored type.
    pub(super) webhook: Option<&'a Webhook>,
}

impl PendingWrite<'_> {
    /// The bank link that it writes to.
    pub(super) fn entity_id(&self) -> Option<Uuid> {
        self.webhook.map(|webhook| webhook.entity_id)
    }

    /// The ids that the dead letter which it ends may have; none unless the message was replayed.
    pub(super) fn letter_ids(&self) -> Vec<Uuid> {
        let Message { id, body, received_at, replay, .. } = self.message;
        if replay.is_some() { letter_ids(id, body, *received_at) } else { Vec::new() }
    }

    /// The ids of all rows that it may write to.
    pub(super) fn row_ids(&self) -> impl Iterator<Item = Uuid> {
        self.entity_id().into_iter().chain(self.letter_ids())
    }
}

/// A position in the batch, and what the delivery there came to.
pub(super) type IndexedResult = (usize, DeliveryResult);

/// Writes one batch at a time.
pub(super) struct Writer {
    /// Its own clone: how long a transaction may take depends on the one before.
    pub(super) store: Store,
    /// Hands events to a relay in the same process.
    pub(super) handover: Arc<Handover>,
    /// The CloudEvents `source`.
    pub(super) event_source: String,
}

impl Writer {
    /// Writes everything that `parsed` says, and returns what each delivery came to, in the same order. `parent` is the `traceparent` of
    /// the batch, if it has any.
    ///
    /// # Errors
    /// For an outage or contention, never for the fault of a message. Nothing is decided then; the caller writes the batch again,
    /// which changes nothing where it was written already.
    pub(super) async fn write(
        &self,
        parsed: &[ParsedDelivery],
        parent: Option<&str>,
    ) -> Result<Vec<DeliveryResult>, store::Error> {
        let (writes, mut results) = plan(parsed);
        results.extend(self.write_in_parts(&writes, parent).await?);
        results.sort_unstable_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

/// The ids of all rows that a batch may write to.
pub(super) fn row_ids(parsed: &[ParsedDelivery]) -> HashSet<Uuid> {
    plan(parsed).0.iter().flat_map(PendingWrite::row_ids).collect()
}

/// What a batch writes, and the results of those deliveries that write nothing.
fn plan(parsed: &[ParsedDelivery]) -> (Vec<PendingWrite<'_>>, Vec<IndexedResult>) {
    let (mut writes, mut results) = (Vec::with_capacity(parsed.len()), Vec::new());
    for (index, delivery) in parsed.iter().enumerate() {
        let message = delivery.message();
        match &delivery.webhook {
            Ok(Parsed::Link(webhook)) => writes.push(PendingWrite { index, message, webhook: Some(webhook) }),
            Ok(Parsed::Ignored(_)) if message.replay.is_some() => {
                writes.push(PendingWrite { index, message, webhook: None });
            }
            Ok(Parsed::Ignored(_)) => results.push((index, DeliveryResult::Handled(Outcome::Ignored))),
            Err(failure) => results.push((index, DeliveryResult::Failed(failure.clone()))),
        }
    }
    (writes, results)
}
