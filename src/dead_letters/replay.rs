//! Sends dead letters in again by the front door, at a pace that can be borne, and tells what became of them.
//!
//! Claim, publish with a confirm, keep the claim: it may be killed at any point and run again. What it does not get to is
//! dead as before; what was published twice is merged twice, which changes nothing.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message;
use super::replay_outcomes::{PendingOutcomes, ReplayTotals};
use crate::broker::{self, DEADLINE, Outgoing, Publisher};
use crate::rate_limiter::RateLimiter;
use crate::store::dead_letters::{Claimed, ReplayKey, Selected, batches, claim, confirm_claims, release_claims};
use crate::store::{self, Store};

/// Letters claimed and published at a time.
const MAX_AT_ONCE: usize = 1_000;
/// How long the outcomes of a few letters are waited for before more are taken on, where failures are to stop the replay.
const LET_SHOW: Duration = Duration::from_secs(2);
/// How often outcomes are looked for while nothing else is to be done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How to go about it.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// Letters a second, at most; up to a second's worth that was held up follows at once.
    pub rate: Option<u32>,
    /// How many go first and have to end well before the others follow.
    pub canary: Option<usize>,
    /// The share of ended letters, in percent, that may be dead again before it stops.
    pub stop_on_failure: Option<f64>,
    /// How long to wait for outcomes once all are published.
    pub wait: Duration,
    /// Who does it.
    pub by: String,
}

/// Why a replay ended.
#[derive(Clone, Debug)]
pub enum ReplayEnd {
    /// All were taken on.
    Finished,
    /// Somebody asked it to stop.
    Interrupted,
    /// Not all of the canaries ended well in time.
    CanaryFailed,
    /// Too many were dead again.
    TooManyFailed,
    /// The broker did not take a letter.
    BrokerAway(broker::Error),
}

/// Replays what is still as it was `chosen`, in that order. `told` sees the tally as it grows.
///
/// # Errors
/// When the database is away; running it again goes on.
pub async fn replay(
    store: &Store,
    publisher: &Publisher,
    chosen: &[Selected],
    plan: &ReplayOptions,
    stop: &CancellationToken,
    mut told: impl FnMut(&ReplayTotals),
) -> Result<(ReplayTotals, ReplayEnd), store::Error> {
    let tally = ReplayTotals { selected: chosen.len(), ..ReplayTotals::default() };
    let mut replay =
        Replay { store, publisher, plan, stop, tally, under_way: PendingOutcomes::default(), unkept: Vec::new() };
    let end = replay.run(chosen, &mut told).await?;
    replay.keep().await?;
    replay.tally.under_way = replay.under_way.len();
    Ok((replay.tally, end))
}

/// A replay on its way.
struct Replay<'a> {
    store: &'a Store,
    publisher: &'a Publisher,
    plan: &'a ReplayOptions,
    stop: &'a CancellationToken,
    tally: ReplayTotals,
    under_way: PendingOutcomes,
    /// Published, on claims that still run out.
    unkept: Vec<ReplayKey>,
}

impl Replay<'_> {
    async fn run(
        &mut self,
        chosen: &[Selected],
        told: &mut impl FnMut(&ReplayTotals),
    ) -> Result<ReplayEnd, store::Error> {
        let canaries = self.plan.canary.unwrap_or(0).min(chosen.len());
        let (first, rest) = chosen.split_at(canaries);
        if canaries > 0 {
            if let Some(end) = self.take_all(first, told).await? {
                return Ok(end);
            }
            // One that somebody else took has proved nothing either.
            if self.tally.resolved() < canaries {
                return Ok(ReplayEnd::CanaryFailed);
            }
        }
        Ok(self.take_all(rest, told).await?.unwrap_or(ReplayEnd::Finished))
    }

    /// Takes on `letters`, at the pace that is planned, and waits for what becomes of them; why it ended early, if it did.
    async fn take_all(
        &mut self,
        letters: &[Selected],
        told: &mut impl FnMut(&ReplayTotals),
    ) -> Result<Option<ReplayEnd>, store::Error> {
        let mut pace = self.plan.rate.map(RateLimiter::new);
        let at_once = self.plan.rate.map_or(MAX_AT_ONCE, |rate| (rate as usize / 4).clamp(1, MAX_AT_ONCE));
        for letters in batches(letters, at_once) {
            if let Some(pace) = &mut pace {
                self.stop.run_until_cancelled(pace.acquire(letters.len())).await;
            }
            if self.stop.is_cancelled() {
                return Ok(Some(ReplayEnd::Interrupted));
            }
            let away = self.take_on(letters).await?;
            // Whoever wants to stop on failures gives them time to show.
            let pause = self.plan.stop_on_failure.map_or(Duration::ZERO, |_| LET_SHOW);
            self.wait(pause, told).await?;
            if let Some(away) = away {
                return Ok(Some(ReplayEnd::BrokerAway(away)));
            }
            if self.plan.stop_on_failure.is_some_and(|percent| self.tally.fails_more_than(percent)) {
                return Ok(Some(ReplayEnd::TooManyFailed));
            }
        }
        self.keep().await?;
        self.wait(self.plan.wait, told).await?;
        Ok(self.stop.is_cancelled().then_some(ReplayEnd::Interrupted))
    }

    /// Claims and publishes a few letters; why the broker did not take one, if so.
    async fn take_on(&mut self, letters: &[Selected]) -> Result<Option<broker::Error>, store::Error> {
        let claimed = claim(self.store, letters, &self.plan.by).await?;
        let publishing = join_all(claimed.iter().map(|claimed| publish(self.publisher, claimed)));
        // The claims of those before are kept no sooner than now: most have ended meanwhile, and need it no more.
        let (verdicts, kept) = tokio::join!(publishing, confirm_claims(self.store, &self.unkept));
        self.unkept.clear();
        let (mut unpublished, mut away) = (Vec::new(), None);
        for (claimed, verdict) in claimed.iter().zip(verdicts) {
            match verdict {
                Ok(()) => self.unkept.push(claimed.key()),
                Err(cause) => {
                    // After a timeout the message may be on the queue all the same: that claim is left to run out.
                    if cause.is_refusal() || matches!(cause, broker::Error::Blocked | broker::Error::NoChannel) {
                        unpublished.push(claimed.key());
                    }
                    away = Some(cause);
                }
            }
        }
        kept?;
        release_claims(self.store, &unpublished).await?;
        self.tally.replayed += self.unkept.len();
        self.tally.skipped += letters.len() - self.unkept.len();
        self.under_way.add(&self.unkept);
        Ok(away)
    }

    async fn keep(&mut self) -> Result<(), store::Error> {
        confirm_claims(self.store, &self.unkept).await?;
        self.unkept.clear();
        Ok(())
    }

    /// Looks for outcomes once, and goes on while there is patience.
    async fn wait(&mut self, patience: Duration, told: &mut impl FnMut(&ReplayTotals)) -> Result<(), store::Error> {
        let deadline = Instant::now() + patience;
        loop {
            let ended = self.under_way.look(self.store, &mut self.tally).await?;
            told(&self.tally);
            if self.under_way.len() == 0 || Instant::now() >= deadline || self.stop.is_cancelled() {
                return Ok(());
            }
            if ended == 0 {
                self.stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
            }
        }
    }
}

async fn publish(publisher: &Publisher, claimed: &Claimed) -> Result<(), broker::Error> {
    let outgoing = Outgoing::webhook(publisher.connection().topology(), &message(&claimed.letter));
    publisher.publish(outgoing, DEADLINE).await
}
