//! Applies a batch: parse each webhook, then one transaction for all that speak of bank links.
//!
//! A batch that fails because of one webhook is halved until that one stands alone; one that meets a row that somebody else
//! has locked goes on without it. The rest go through.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use futures_util::FutureExt;
use uuid::Uuid;

use super::Worker;
use super::decide::{Ended, Handled, Unhandled};
use super::patience::LONGEST;
use super::transact::{Spoken, resolution};
use crate::broker::Message;
use crate::domain::bank_link::Outcome;
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::webhook::{Parsed, parse};
use crate::faults;
use crate::panics;
use crate::store::dead_letters::Resolution;
use crate::store::{self, bank_links, dead_letters};

/// What trying a part of a batch came to.
enum Tried {
    /// All of it is written.
    Written(Vec<Outcome>),
    /// Somebody else has locked the bank links of those entities; nothing is written.
    MetLocks(HashSet<Uuid>),
    /// It is because of one of it, which one is not known; nothing is written.
    AtFault(Unhandled),
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
                Err(failure) => Err(failure.into()),
            });
        }
        self.resolve_ignored(batch, &handled).await?;
        let began = Instant::now();
        let mut parts = vec![spoken.iter().collect::<Vec<_>>()];
        while let Some(part) = parts.pop() {
            match self.try_part(&part).await? {
                // Each lock costs seconds, and the broker waits for the whole batch.
                Tried::MetLocks(_) | Tried::AtFault(Unhandled::Locked) if began.elapsed() > LONGEST => {
                    return Err(store::Error::Contended);
                }
                Tried::Written(outcomes) => {
                    for (spoken, outcome) in part.iter().zip(outcomes) {
                        handled[spoken.place] = ended(outcome);
                    }
                }
                Tried::MetLocks(entities) => {
                    let is_locked = |spoken: &&Spoken<'_>| entities.contains(&spoken.webhook.entity_id);
                    let (locked, free): (Vec<_>, Vec<_>) = part.into_iter().partition(is_locked);
                    for spoken in locked {
                        handled[spoken.place] = Err(Unhandled::Locked);
                    }
                    parts.push(free);
                }
                Tried::AtFault(cause) => match part.as_slice() {
                    [alone] => handled[alone.place] = Err(cause),
                    several => {
                        let (first, second) = several.split_at(several.len() / 2);
                        parts.extend([second.to_vec(), first.to_vec()]);
                    }
                },
            }
        }
        Ok(handled)
    }

    /// Tries a part, and finds out whose fault it is if it fails.
    ///
    /// # Errors
    /// When it is the world's.
    async fn try_part(&self, part: &[&Spoken<'_>]) -> Result<Tried, store::Error> {
        let away = match AssertUnwindSafe(self.transact(part)).catch_unwind().await {
            Ok(Ok(outcomes)) => return Ok(Tried::Written(outcomes)),
            Ok(Err(store::Error::Rejected(reason))) => {
                return Ok(Tried::AtFault(Failure::new(FailureClass::RejectedByDatabase, reason).into()));
            }
            Ok(Err(away)) => away,
            Err(_) => return Ok(Tried::AtFault(panicked().into())),
        };
        if !matches!(away, store::Error::Locked(_)) {
            return Err(away);
        }
        let entities: Vec<Uuid> = part.iter().map(|spoken| spoken.webhook.entity_id).collect();
        let locked = store::in_time(store::DEADLINE, bank_links::locked(&self.store, &entities)).await?;
        if !locked.is_empty() {
            return Ok(Tried::MetLocks(locked));
        }
        // Perhaps a row that is being inserted, or a letter. Where other rows can be written, one of these is behind it.
        self.store.probe().await.map(|()| Tried::AtFault(Unhandled::Locked)).map_err(|_| away)
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
}

fn ended(outcome: Outcome) -> Handled {
    match outcome {
        Outcome::Applied => Ok(Ended::Applied),
        Outcome::Stale => Ok(Ended::Stale),
        Outcome::NoSuchLink => {
            Err(Failure::new(FailureClass::UnknownEntity, "payload.id: no bank link of this entity is known").into())
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
