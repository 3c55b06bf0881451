//! Writes a batch in parts, and isolates the deliveries that a transaction fails for.
//!
//! Every batch passes here, nearly always as one part. A part that fails while other rows can be written is halved until the
//! faulty delivery stands alone. Deliveries about rows that another session has locked are separated at once. All others
//! go through.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt;
use uuid::Uuid;

use super::outage_backoff::MAX_HOLD;
use super::panic_failure::panic_failure;
use super::write::{IndexedResult, PendingWrite, Writer};
use crate::bisect::Bisection;
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::outcome::DeliveryResult;
use crate::store::{self, bank_links, letters};

/// What an attempt to write a part of the batch came to. Unless it is `Written`, the transaction was rolled back.
enum PartResult {
    Written(Vec<IndexedResult>),
    /// Another session holds locks on these bank links and dead letters.
    Locked(HashSet<Uuid>),
    /// One delivery of the part is at fault. If it stands alone, this is what it came to.
    Faulty(DeliveryResult),
    /// One delivery of the part may be at fault: the part could not be written, but a probe could.
    Suspect(DeliveryResult),
}

impl Writer {
    /// Writes `writes` in as few transactions as the faulty ones among them allow.
    ///
    /// # Errors
    /// For an outage, for rows that other workers keep changing, or if isolating takes longer than [`MAX_HOLD`].
    pub(super) async fn write_in_parts(
        &self,
        writes: &[PendingWrite<'_>],
        parent: Option<&str>,
    ) -> Result<Vec<IndexedResult>, store::Error> {
        let started = Instant::now();
        let mut results = Vec::with_capacity(writes.len());
        let mut bisection = Bisection::new(writes.iter().collect());
        while let Some(part) = bisection.next_part() {
            match self.write_with_second_attempt(&part, parent).await? {
                // Each of these may take seconds, and RabbitMQ's consumer timeout covers the whole batch.
                PartResult::Locked(_) | PartResult::Suspect(DeliveryResult::Deferred(_))
                    if started.elapsed() > MAX_HOLD =>
                {
                    return Err(store::Error::Blocked(
                        "isolating what cannot be written takes too long".to_owned().into(),
                    ));
                }
                PartResult::Written(written) => results.extend(written),
                PartResult::Locked(ids) => {
                    let (locked, others): (Vec<_>, Vec<_>) =
                        part.into_iter().partition(|write| write.row_ids().any(|id| ids.contains(&id)));
                    let deferred = DeliveryResult::Deferred("another session has locked the row".to_owned());
                    bisection.separated(locked.into_iter().map(|write| (write, deferred.clone())), others);
                }
                PartResult::Faulty(result) | PartResult::Suspect(result) => bisection.failed(part, result),
            }
        }
        results.extend(bisection.into_faulty().into_iter().map(|(write, result)| (write.index, result)));
        Ok(results)
    }

    /// Tries to write a part. A suspect that stands alone gets a second attempt on a new connection, because the outage may
    /// have ended just before the probe.
    async fn write_with_second_attempt(
        &self,
        part: &[&PendingWrite<'_>],
        parent: Option<&str>,
    ) -> Result<PartResult, store::Error> {
        match self.write_and_diagnose(part, parent).await? {
            PartResult::Suspect(_) if part.len() == 1 => {
                self.store.close_idle_connections().await;
                self.write_and_diagnose(part, parent).await
            }
            result => Ok(result),
        }
    }

    async fn write_and_diagnose(
        &self,
        part: &[&PendingWrite<'_>],
        parent: Option<&str>,
    ) -> Result<PartResult, store::Error> {
        let error = match AssertUnwindSafe(self.write_part(part, parent)).catch_unwind().await {
            Ok(Ok(written)) => return Ok(PartResult::Written(written)),
            Ok(Err(error)) => error,
            Err(_panic) => return Ok(PartResult::Faulty(DeliveryResult::Failed(panic_failure()))),
        };
        let suspect = match &error {
            store::Error::InvalidRow(reason) => return Ok(PartResult::Faulty(rejected(reason))),
            store::Error::RuleViolation(reason) => rejected(reason),
            store::Error::Blocked(_) => DeliveryResult::Deferred(error.to_string()),
            store::Error::Unavailable(_) | store::Error::TimedOut | store::Error::Contended => return Err(error),
        };
        // If the probe cannot write either, the error is an outage.
        if self.store.probe().await.is_err() {
            return Err(error);
        }
        if matches!(suspect, DeliveryResult::Deferred(_)) {
            let entity_ids = part.iter().filter_map(|write| write.entity_id());
            let mut locked = bank_links::locked(&self.store, entity_ids).await?;
            locked.extend(letters::locked(&self.store, part.iter().flat_map(|write| write.letter_ids())).await?);
            if !locked.is_empty() {
                return Ok(PartResult::Locked(locked));
            }
            // Another session may be inserting the row: an uncommitted row is not visible, so its lock is not found.
        }
        Ok(PartResult::Suspect(suspect))
    }
}

fn rejected(cause: &store::Cause) -> DeliveryResult {
    DeliveryResult::Failed(Failure::new(FailureClass::RejectedByDatabase, cause.to_string()))
}
