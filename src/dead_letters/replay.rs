//! Replays dead letters: claims them, publishes them to the work queue, confirms the claims and waits for the outcomes.
//!
//! A replay may be killed at any point and run again. A letter that was claimed but not published is dead again when its claim
//! expires; a letter that was published twice is merged twice, which changes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message;
use super::replay_outcomes::{ReplayTotals, poll};
use crate::broker::{self, Outgoing, Publisher, REQUEST_DEADLINE};
use crate::rate_limiter::RateLimiter;
use crate::store::letters::{ReplayKey, Selected, batches, claim, confirm_claims, release_claims};
use crate::store::{self, Store};

/// Maximum letters that are claimed and published together.
const MAX_BATCH: usize = 1_000;
/// Wait for outcomes after each batch if failures stop the replay, so that they show before the next batch.
const STOP_ON_FAILURE_DELAY: Duration = Duration::from_secs(2);
/// How often outcomes are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How to replay.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// Maximum letters per second. After a delay, at most one second's worth is caught up on.
    pub rate: Option<u32>,
    /// How many letters are replayed first. The others follow only if all of these are resolved.
    pub canary: Option<usize>,
    /// Stop when more than this percentage of the letters that ended (resolved, or dead again) is dead again.
    pub stop_on_failure: Option<f64>,
    /// Maximum wait for outcomes after the last letter is published, and after the canaries.
    pub wait: Duration,
    /// The name for the letters' history.
    pub by: String,
}

/// Why a replay ended.
#[derive(Clone, Debug)]
pub enum ReplayEnd {
    /// All letters were replayed or skipped.
    Completed,
    /// It was asked to stop.
    Interrupted,
    /// Not every canary was resolved in time.
    CanaryFailed,
    /// More letters were dead again than [`ReplayOptions::stop_on_failure`] permits.
    TooManyFailures,
    /// A letter could not be published.
    PublishFailed(broker::Error),
}

/// Replays the letters in `selected`, in that order, and skips those that changed since they were selected. Calls `on_progress`
/// whenever outcomes have been polled. Cancelling `stop` ends the replay between batches.
///
/// # Errors
/// Any [`store::Error`], when the database fails. The same replay can be run again.
pub async fn replay(
    store: &Store,
    publisher: &Publisher,
    selected: &[Selected],
    options: &ReplayOptions,
    stop: &CancellationToken,
    on_progress: impl FnMut(&ReplayTotals),
) -> Result<(ReplayTotals, ReplayEnd), store::Error> {
    let totals = ReplayTotals { selected: selected.len(), ..ReplayTotals::default() };
    let (pending, expiring) = (VecDeque::new(), Vec::new());
    let mut replay = Replay { store, publisher, options, stop, on_progress, totals, pending, expiring };
    let end = replay.run(selected).await?;
    replay.confirm_claims().await?;
    replay.totals.under_way = replay.pending.len();
    Ok((replay.totals, end))
}

/// A replay in progress.
struct Replay<'a, F> {
    store: &'a Store,
    publisher: &'a Publisher,
    options: &'a ReplayOptions,
    stop: &'a CancellationToken,
    on_progress: F,
    totals: ReplayTotals,
    /// Replayed letters without an outcome, in the order in which they will be polled.
    pending: VecDeque<ReplayKey>,
    /// Published letters whose claims still expire.
    expiring: Vec<ReplayKey>,
}

impl<F: FnMut(&ReplayTotals)> Replay<'_, F> {
    async fn run(&mut self, selected: &[Selected]) -> Result<ReplayEnd, store::Error> {
        let (canaries, others) = selected.split_at(self.options.canary.unwrap_or(0).min(selected.len()));
        if !canaries.is_empty() {
            if let Some(end) = self.replay_all(canaries).await? {
                return Ok(end);
            }
            // A canary that another replay has claimed proves nothing, so it counts as failed.
            if self.totals.resolved() < canaries.len() {
                return Ok(ReplayEnd::CanaryFailed);
            }
        }
        Ok(self.replay_all(others).await?.unwrap_or(ReplayEnd::Completed))
    }

    /// Replays `letters` in batches and waits for the outcomes. Returns the reason if it ended early.
    async fn replay_all(&mut self, letters: &[Selected]) -> Result<Option<ReplayEnd>, store::Error> {
        let mut rate_limiter = self.options.rate.map(RateLimiter::new);
        // With a rate limit, about four batches per second.
        let batch_size = self.options.rate.map_or(MAX_BATCH, |rate| (rate as usize / 4).clamp(1, MAX_BATCH));
        for batch in batches(letters, batch_size) {
            if let Some(rate_limiter) = &mut rate_limiter {
                self.stop.run_until_cancelled(rate_limiter.acquire(batch.len())).await;
            }
            if self.stop.is_cancelled() {
                return Ok(Some(ReplayEnd::Interrupted));
            }
            let failed = self.replay_batch(batch).await?;
            let delay = self.options.stop_on_failure.map_or(Duration::ZERO, |_| STOP_ON_FAILURE_DELAY);
            self.wait_for_outcomes(delay).await?;
            if let Some(cause) = failed {
                return Ok(Some(ReplayEnd::PublishFailed(cause)));
            }
            if self.options.stop_on_failure.is_some_and(|percent| self.totals.failures_exceed(percent)) {
                return Ok(Some(ReplayEnd::TooManyFailures));
            }
        }
        self.confirm_claims().await?;
        self.wait_for_outcomes(self.options.wait).await?;
        Ok(self.stop.is_cancelled().then_some(ReplayEnd::Interrupted))
    }

    /// Claims and publishes `letters`. Returns the cause if any of them could not be published.
    async fn replay_batch(&mut self, letters: &[Selected]) -> Result<Option<broker::Error>, store::Error> {
        let claimed = claim(self.store, letters, &self.options.by).await?;
        let topology = self.publisher.connection().topology();
        let publish = |letter| self.publisher.publish(Outgoing::webhook(topology, &message(letter)), REQUEST_DEADLINE);
        let publishing = join_all(claimed.iter().map(publish));
        // The claims of the batch before are confirmed only now, because most of its letters have an outcome by now and need
        // no confirmation any more.
        let (published, confirmed) = tokio::join!(publishing, confirm_claims(self.store, &self.expiring));
        self.expiring.clear();
        let (mut unpublished, mut failed) = (Vec::new(), None);
        for (letter, published) in claimed.iter().zip(published) {
            match published {
                Ok(()) => self.expiring.push(ReplayKey::of(letter)),
                Err(cause) => {
                    // After any other error the message may be on the queue, so the claim is left to expire.
                    if cause.is_refusal() || matches!(cause, broker::Error::Blocked) {
                        unpublished.push(ReplayKey::of(letter));
                    }
                    failed = Some(cause);
                }
            }
        }
        confirmed?;
        release_claims(self.store, &unpublished).await?;
        self.totals.replayed += self.expiring.len();
        self.totals.skipped += letters.len() - self.expiring.len();
        self.pending.extend(&self.expiring);
        Ok(failed)
    }

    /// Makes the claims of all published letters permanent.
    async fn confirm_claims(&mut self) -> Result<(), store::Error> {
        confirm_claims(self.store, &self.expiring).await?;
        self.expiring.clear();
        Ok(())
    }

    /// Polls outcomes at least once, then until none are pending, `max_wait` has passed, or `stop` is cancelled.
    async fn wait_for_outcomes(&mut self, max_wait: Duration) -> Result<(), store::Error> {
        let deadline = Instant::now() + max_wait;
        loop {
            let ended = poll(self.store, &mut self.pending, &mut self.totals).await?;
            (self.on_progress)(&self.totals);
            if self.pending.is_empty() || Instant::now() >= deadline || self.stop.is_cancelled() {
                return Ok(());
            }
            if ended == 0 {
                self.stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await;
            }
        }
    }
}
