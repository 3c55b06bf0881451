//! Works on a replay: claims its letters, publishes them to the work queue, confirms the claims and waits for the outcomes.
//!
//! It may be killed at any point, and another process goes on. A letter that was claimed but not published is claimed again when its
//! claim expires; a letter that was published twice is merged twice, which changes nothing.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::replay_ends::{PartEnd, WorkEnd};
use super::replay_publish::publish;
use crate::broker::Publisher;
use crate::domain::canaries::CanaryVerdict;
use crate::domain::replay::failures_exceed;
use crate::rate_limiter::RateLimiter;
use crate::store::letters::{ReplayKey, confirm_claims};
use crate::store::replays::{self, Claimed, Part, Replay, totals};
use crate::store::{self, Store};

/// Maximum letters that are claimed and published together.
const MAX_BATCH: usize = 1_000;
/// Wait for outcomes after each batch if failures stop the replay, so that they show before the next batch.
const STOP_ON_FAILURE_DELAY: Duration = Duration::from_secs(2);
/// How often outcomes are collected.
const COLLECT_INTERVAL: Duration = Duration::from_millis(200);

/// Work on a replay.
pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) publisher: &'a Publisher,
    /// The holder of the replay's lease.
    pub(super) holder: &'a str,
    /// Ends the work between batches.
    pub(super) stop: &'a CancellationToken,
    /// Maximum wait for the outcomes of the canaries, and of all letters.
    pub(super) canary_wait: Duration,
    pub(super) wait: Duration,
    /// Called whenever the replay has changed.
    pub(super) on_progress: &'a mut (dyn FnMut(&Replay) + Send),
    /// The replay as it was read last.
    pub(super) replay: Replay,
    rate_limiter: Option<RateLimiter>,
    /// The position after the last letter that was claimed.
    next: i32,
    /// Published letters whose claims still expire.
    expiring: Vec<ReplayKey>,
    /// The positions of letters, among those that were looked at last, whose claims have expired.
    expired: Vec<i32>,
    /// Where collecting goes on.
    collected_until: Option<i32>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        (store, publisher): (&'a Store, &'a Publisher),
        holder: &'a str,
        stop: &'a CancellationToken,
        (canary_wait, wait): (Duration, Duration),
        on_progress: &'a mut (dyn FnMut(&Replay) + Send),
        replay: Replay,
    ) -> Self {
        let rate = replay.rate.and_then(|rate| u32::try_from(rate).ok());
        let rate_limiter = rate.map(RateLimiter::new);
        Self {
            store,
            publisher,
            holder,
            stop,
            canary_wait,
            wait,
            on_progress,
            replay,
            rate_limiter,
            next: 0,
            expiring: Vec::new(),
            expired: Vec::new(),
            collected_until: None,
        }
    }

    /// Works until every letter is replayed and has an outcome, or the time for outcomes is over.
    pub(super) async fn run(&mut self) -> Result<WorkEnd, store::Error> {
        let end = self.replay_all().await;
        self.confirm_claims().await?;
        end
    }

    async fn replay_all(&mut self) -> Result<WorkEnd, store::Error> {
        // A process before this one may have left outcomes that decide whether to go on.
        while self.collect().await?.1 {}
        if self.has_too_many_failures() {
            return Ok(WorkEnd::TooManyFailures);
        }
        let letters = self.replay.letters;
        if let Some(canary) = self.replay.canary.filter(|_| self.replay.canary_ended_at.is_none()) {
            let canary = canary.min(letters);
            if let Some(end) = self.replay_before(canary, self.canary_wait).await? {
                return Ok(end);
            }
            let canaries = replays::canaries(self.store, &self.replay).await?.unwrap_or_default();
            match canaries.verdict(self.replay.canaries_ignored) {
                CanaryVerdict::Failed => return Ok(WorkEnd::CanaryFailed),
                CanaryVerdict::Waiting => return Ok(WorkEnd::CanariesUnderWay),
                CanaryVerdict::Passed => replays::end_canary(self.store, self.replay.id).await?,
            }
        }
        Ok(self.replay_before(letters, self.wait).await?.unwrap_or(WorkEnd::Completed))
    }

    /// Replays the letters at positions before `before` and waits for the outcomes. Returns the reason if it ended early.
    async fn replay_before(&mut self, before: i32, wait: Duration) -> Result<Option<WorkEnd>, store::Error> {
        let batch_size = self.batch_size();
        loop {
            let at_most = usize::try_from(before - self.replay.replayed - self.replay.skipped).unwrap_or(0);
            let part = Part::Next { positions: self.next..before, limit: batch_size };
            match self.replay_part(part, at_most.clamp(1, batch_size)).await? {
                PartEnd::Exhausted if self.next == 0 => break,
                // A process that worked on the replay before may have released letters at positions that this one has passed.
                PartEnd::Exhausted => self.next = 0,
                PartEnd::Published => {}
                PartEnd::Ended(end) => return Ok(Some(end)),
            }
            let interrupted = match self.replay.stop_on_failure {
                Some(_) => self.wait_for_outcomes(STOP_ON_FAILURE_DELAY).await?,
                None => self.replay_expired().await?,
            };
            if interrupted.is_some() {
                return Ok(interrupted);
            }
            if self.has_too_many_failures() {
                return Ok(Some(WorkEnd::TooManyFailures));
            }
        }
        self.confirm_claims().await?;
        if let Some(end) = self.wait_for_outcomes(wait).await? {
            return Ok(Some(end));
        }
        Ok(self.stop.is_cancelled().then_some(WorkEnd::Interrupted))
    }

    /// Claims and publishes a part of the letters, `count` of them at most.
    async fn replay_part(&mut self, part: Part<'_>, count: usize) -> Result<PartEnd, store::Error> {
        if let Some(rate_limiter) = &mut self.rate_limiter {
            self.stop.run_until_cancelled(rate_limiter.acquire(count)).await;
        }
        if self.stop.is_cancelled() {
            return Ok(PartEnd::Ended(WorkEnd::Interrupted));
        }
        let claims = match replays::claim(self.store, self.replay.id, self.holder, part).await? {
            Claimed::Letters(claims, replay) => {
                self.replay = *replay;
                self.next = claims.last().map_or(self.next, |claim| self.next.max(claim.position + 1));
                claims
            }
            Claimed::Exhausted => return Ok(PartEnd::Exhausted),
            Claimed::Refused => return Ok(PartEnd::Ended(WorkEnd::Interrupted)),
        };
        let publisher = self.publisher;
        let (published, settled) = tokio::join!(publish(publisher, claims), self.settle_batch_before());
        self.expiring = published.keys;
        settled?;
        replays::release(self.store, self.replay.id, &published.unpublished).await?;
        Ok(published.failure.map_or(PartEnd::Published, |cause| PartEnd::Ended(WorkEnd::PublishFailed(cause))))
    }

    /// Confirms the claims of the batch before, and collects outcomes. The claims are confirmed only while the next batch is published,
    /// because most of their letters have an outcome by then and need no confirmation any more.
    async fn settle_batch_before(&mut self) -> Result<(), store::Error> {
        self.confirm_claims().await?;
        self.collect().await?;
        Ok(())
    }

    /// Makes the claims of all published letters permanent.
    async fn confirm_claims(&mut self) -> Result<(), store::Error> {
        confirm_claims(self.store, &self.expiring).await?;
        self.expiring.clear();
        Ok(())
    }

    /// Collects outcomes at least once, then until no letter is under way, `max_wait` has passed, or `stop` is cancelled. Replays
    /// letters whose claims have expired.
    async fn wait_for_outcomes(&mut self, max_wait: Duration) -> Result<Option<WorkEnd>, store::Error> {
        let deadline = Instant::now() + max_wait;
        loop {
            let (ended, _) = self.collect().await?;
            if let Some(end) = self.replay_expired().await? {
                return Ok(Some(end));
            }
            let none_under_way = totals(&self.replay).under_way == 0;
            if none_under_way || Instant::now() >= deadline || self.stop.is_cancelled() {
                return Ok(None);
            }
            if ended == 0 {
                self.stop.run_until_cancelled(tokio::time::sleep(COLLECT_INTERVAL)).await;
            }
        }
    }

    /// Replays the letters whose claims had expired when outcomes were collected last.
    async fn replay_expired(&mut self) -> Result<Option<WorkEnd>, store::Error> {
        let mut expired = std::mem::take(&mut self.expired);
        expired.truncate(self.batch_size());
        if expired.is_empty() {
            return Ok(None);
        }
        let end = self.replay_part(Part::Expired(&expired), expired.len()).await?;
        Ok(if let PartEnd::Ended(end) = end { Some(end) } else { None })
    }

    /// Collects the outcomes of some letters. Returns how many have ended, and whether there are more letters to look at.
    async fn collect(&mut self) -> Result<(usize, bool), store::Error> {
        let collected = replays::collect(self.store, self.replay.id, self.collected_until).await?;
        self.collected_until = collected.next;
        // Those of earlier letters are found again in the next round.
        self.expired = collected.expired;
        if let Some(replay) = replays::load(self.store, self.replay.id).await? {
            self.replay = replay;
        }
        (self.on_progress)(&self.replay);
        Ok((collected.ended, collected.next.is_some()))
    }

    /// With a rate limit, about four batches per second.
    fn batch_size(&self) -> usize {
        self.replay.rate.map_or(MAX_BATCH, |rate| (rate.unsigned_abs() as usize / 4).clamp(1, MAX_BATCH))
    }

    fn has_too_many_failures(&self) -> bool {
        let (totals, before) = (totals(&self.replay), |count: i32| usize::try_from(count).unwrap_or(0));
        let resolved = totals.resolved().saturating_sub(before(self.replay.resolved_before));
        let dead = totals.dead.saturating_sub(before(self.replay.dead_before));
        self.replay.stop_on_failure.is_some_and(|percent| failures_exceed(percent, resolved, dead))
    }
}
