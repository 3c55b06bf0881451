//! Applies a batch: parse each webhook, then one transaction for all that speak of bank links.
//!
//! A batch that fails while others could be written is halved until the webhook that is behind it stands alone; one that meets
//! a row that somebody else has locked goes on without it. The rest go through.

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
use crate::failpoints;
use crate::panics;
use crate::store::dead_letters::Resolution;
use crate::store::{self, bank_links, dead_letters};

/// What trying a part of a batch came to.
enum Tried {
    /// All of it is written.
    Written(Vec<Outcome>),
    /// Somebody else has locked the bank links of those entities; nothing is written.
    MetLocks(HashSet<Uuid>),
    /// One of it is at fault, which one is not known; nothing is written. What that one came to.
    AtFault(Unhandled),
    /// The same, as far as can be told: others could be written a moment later.
    Suspect(Unhandled),
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
                    // Whatever nobody decided would come back.
                    Err(Unhandled::Obstructed("not tried yet".to_owned()))
                }
                Err(failure) => Err(failure.into()),
            });
        }
        self.resolve_ignored(batch, &mut handled).await?;
        let began = Instant::now();
        let mut parts = vec![spoken.iter().collect::<Vec<_>>()];
        while let Some(part) = parts.pop() {
            match self.try_part(&part).await? {
                // Each of these may cost seconds, and the broker waits for the whole batch.
                Tried::MetLocks(_) | Tried::Suspect(Unhandled::Obstructed(_)) if began.elapsed() > LONGEST => {
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
                        handled[spoken.place] = Err(Unhandled::Obstructed("somebody else has locked it".to_owned()));
                    }
                    parts.push(free);
                }
                Tried::AtFault(cause) | Tried::Suspect(cause) => match part.as_slice() {
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

    /// Tries a part, and finds out who is behind it if it fails; a suspect that stands alone has a second chance, for the world
    /// may have healed just before others could be written.
    ///
    /// # Errors
    /// When the world is behind it.
    async fn try_part(&self, part: &[&Spoken<'_>]) -> Result<Tried, store::Error> {
        match self.try_once(part).await? {
            Tried::Suspect(_) if part.len() == 1 => {
                // Nor may it have been the connection.
                self.store.renew().await;
                self.try_once(part).await
            }
            tried => Ok(tried),
        }
    }

    async fn try_once(&self, part: &[&Spoken<'_>]) -> Result<Tried, store::Error> {
        let error = match AssertUnwindSafe(self.transact(part)).catch_unwind().await {
            Ok(Ok(outcomes)) => return Ok(Tried::Written(outcomes)),
            Ok(Err(store::Error::InvalidRow(reason))) => return Ok(Tried::AtFault(rejected(&reason).into())),
            Ok(Err(error)) => error,
            Err(_) => return Ok(Tried::AtFault(panicked().into())),
        };
        let suspect = self.suspect(error).await?;
        if matches!(suspect, Unhandled::Obstructed(_)) {
            let entities: Vec<Uuid> = part.iter().map(|spoken| spoken.webhook.entity_id).collect();
            let locked = store::with_deadline(store::DEADLINE, bank_links::locked(&self.store, &entities)).await?;
            if !locked.is_empty() {
                return Ok(Tried::MetLocks(locked));
            }
            // Perhaps a row that is being inserted, which nobody else can see.
        }
        Ok(Tried::Suspect(suspect))
    }

    /// What the one that is behind the error comes to, if others can be written: then one is.
    ///
    /// # Errors
    /// When the world is behind it.
    async fn suspect(&self, error: store::Error) -> Result<Unhandled, store::Error> {
        let suspect = match &error {
            store::Error::InvalidRow(reason) | store::Error::RuleViolation(reason) => rejected(reason).into(),
            store::Error::Blocked(_) => Unhandled::Obstructed(error.to_string()),
            store::Error::Unavailable(_) | store::Error::TimedOut | store::Error::Contended => return Err(error),
        };
        self.store.probe().await.map(|()| suspect).map_err(|_| error)
    }

    /// A replayed message that turns out to be none of our business ends its letter like any other. One whose letter cannot be
    /// written holds up no other.
    async fn resolve_ignored(&self, batch: &[&Message], handled: &mut [Handled]) -> Result<(), store::Error> {
        let (began, all) = (Instant::now(), batch.iter().zip(&*handled).enumerate());
        let ignored = all.filter(|(_, (_, handled))| matches!(handled, Ok(Ended::Ignored(_))));
        let (places, ends): (Vec<usize>, Vec<Resolution>) =
            ignored.filter_map(|(place, (message, _))| Some((place, resolution(message, "ignored")?))).unzip();
        let Err(error) = self.resolve(&ends).await else { return Ok(()) };
        self.suspect(error).await?;
        for (place, end) in places.into_iter().zip(&ends) {
            let Err(error) = self.resolve(std::slice::from_ref(end)).await else { continue };
            if began.elapsed() > LONGEST {
                return Err(error);
            }
            handled[place] = Err(self.suspect(error).await?);
        }
        Ok(())
    }

    async fn resolve(&self, ends: &[Resolution]) -> Result<(), store::Error> {
        if ends.is_empty() {
            return Ok(());
        }
        store::with_deadline(store::DEADLINE, async {
            let transaction = self.store.begin().await?;
            dead_letters::resolve(&transaction, ends).await?;
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
        failpoints::failpoint_for_body(&message.body);
        parse(&message.body, message.received_at)
    }));
    parsed.unwrap_or_else(|_| Err(panicked()))
}

fn rejected(reason: &str) -> Failure {
    Failure::new(FailureClass::RejectedByDatabase, reason)
}

fn panicked() -> Failure {
    let reason = panics::last_location().map_or_else(|| "a panic".to_owned(), |place| format!("a panic at {place}"));
    Failure::new(FailureClass::Panicked, reason)
}
