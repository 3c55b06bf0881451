//! Takes replays, works on them and decides what becomes of them afterwards. The command line and the console use the same.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::replay::Work;
use super::replay_ends::WorkEnd;
use super::replay_lease::{Interruption, ReplayLease};
use crate::broker::{self, Publisher};
use crate::domain::replay::ReplayState;
use crate::store::letters::Selected;
use crate::store::replays::{self, Change, NewReplay, Replay, Resume};
use crate::store::{self, Store, leases};

/// How long [`ReplayWorker::take`] waits for a process that is finishing its last batch, and how often it looks.
const TAKE_DEADLINE: Duration = Duration::from_secs(5);
const TAKE_INTERVAL: Duration = Duration::from_millis(200);

/// What becomes of a replay when a letter cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPublishFailure {
    /// It stops, until an operator resumes it.
    Stop,
    /// It stays running and is left to the next process that works on it.
    LeaveRunning,
}

/// How to work on a replay.
#[derive(Clone, Debug)]
pub struct WorkOptions {
    /// Maximum wait for the outcomes of the canaries. The replay then stays running, without a process.
    pub canary_wait: Duration,
    /// Maximum wait for outcomes after the last letter is published. The replay then stays running, without a process.
    pub wait: Duration,
    /// What to do when a letter cannot be published.
    pub on_publish_failure: OnPublishFailure,
    /// Who pauses the replay if `pause` is cancelled.
    pub by: String,
    /// Cancelling it pauses the replay, after the batch that is being published.
    pub pause: CancellationToken,
    /// Cancelling it leaves the replay running, for another process, after the batch that is being published.
    pub hand_over: CancellationToken,
}

/// Why work on a replay ended.
#[derive(Clone, Debug)]
pub enum ReplayEnd {
    /// All letters were replayed or skipped. Some may be under way.
    Completed,
    /// This process was asked to pause it.
    Paused,
    /// This process was asked to leave it to another one.
    HandedOver,
    /// Another process has paused or cancelled it.
    Withdrawn,
    /// Another process works on it now.
    LeaseLost,
    /// A canary has failed. The replay has stopped.
    CanaryFailed,
    /// No canary has failed, but not every one has ended in time. The replay stays running, without a process.
    CanariesUnderWay,
    /// More letters were dead again than `stop_on_failure` permits.
    TooManyFailures,
    /// A letter could not be published.
    PublishFailed(broker::Error),
}

/// A replay that this process may work on.
pub struct TakenReplay {
    replay: Replay,
    lease: ReplayLease,
}

impl TakenReplay {
    /// The replay as it was when it was taken.
    #[must_use]
    pub fn replay(&self) -> &Replay {
        &self.replay
    }
}

/// The result of asking for a replay.
pub enum Taken {
    /// This process may work on it.
    Taken(Box<TakenReplay>),
    /// Another process works on it: its name.
    HeldBy(String),
    /// It is neither running, paused nor stopped.
    Ended(Replay),
    /// It is paused or stopped, and was not to be resumed.
    NotRunning(Replay),
    /// There is no such replay.
    Missing,
}

/// Works on replays.
#[derive(Clone)]
pub struct ReplayWorker {
    /// The database.
    pub store: Store,
    /// Publishes letters.
    pub publisher: Publisher,
}

impl ReplayWorker {
    /// Makes a replay of the letters in `selected`, in that order, and takes it.
    ///
    /// # Errors
    /// Any [`store::Error`], when the database fails. Nothing is made then.
    pub async fn create(&self, new: &NewReplay, selected: &[Selected]) -> Result<TakenReplay, store::Error> {
        let (holder, begin) = (leases::new_holder(), Instant::now());
        let replay = replays::create(&self.store, new, selected, Some(&holder)).await?;
        let lease = ReplayLease::taken(&self.store, replay.id, holder, begin);
        Ok(TakenReplay { replay, lease })
    }

    /// Takes the replay `id`. One that is paused or stopped is resumed by `resumed_by`, if that is given.
    ///
    /// # Errors
    /// As [`ReplayWorker::create`].
    pub async fn take(&self, id: i64, resumed_by: Option<&str>) -> Result<Taken, store::Error> {
        let deadline = Instant::now() + TAKE_DEADLINE;
        loop {
            let Some(replay) = replays::load(&self.store, id).await? else { return Ok(Taken::Missing) };
            let is_running = match replays::state(&replay) {
                Some(ReplayState::Running) => true,
                Some(ReplayState::Paused | ReplayState::Stopped) if resumed_by.is_some() => false,
                Some(ReplayState::Paused | ReplayState::Stopped) => return Ok(Taken::NotRunning(replay)),
                _ => return Ok(Taken::Ended(replay)),
            };
            let lease = match ReplayLease::acquire(&self.store, id).await? {
                Ok(lease) => lease,
                // The process that worked on it until it was paused finishes its batch.
                Err(_) if !is_running && Instant::now() < deadline => {
                    tokio::time::sleep(TAKE_INTERVAL).await;
                    continue;
                }
                Err(holder) => return Ok(Taken::HeldBy(holder)),
            };
            return self.with_lease(id, resumed_by, lease).await;
        }
    }

    async fn with_lease(&self, id: i64, resumed_by: Option<&str>, lease: ReplayLease) -> Result<Taken, store::Error> {
        let resumed = match resumed_by {
            Some(by) => replays::resume(&self.store, id, by, Resume::Stopped(None)).await?,
            None => replays::load(&self.store, id).await?.map_or(Change::Missing, Change::Done),
        };
        let refused = match resumed {
            Change::Done(replay) if replays::state(&replay) == Some(ReplayState::Running) => {
                return Ok(Taken::Taken(Box::new(TakenReplay { replay, lease })));
            }
            Change::Done(replay) => Taken::NotRunning(replay),
            Change::Refused(replay) => Taken::Ended(replay),
            Change::Missing => Taken::Missing,
        };
        lease.release().await;
        Ok(refused)
    }

    /// Works on a replay until it ends, is interrupted, or its outcomes take longer than they are waited for. Calls `on_progress`
    /// whenever outcomes have been collected. Returns the replay as it is afterwards.
    ///
    /// # Errors
    /// Any [`store::Error`], when the database fails. The replay stays running, without a process.
    pub async fn work(
        &self,
        taken: TakenReplay,
        options: &WorkOptions,
        on_progress: &mut (dyn FnMut(&Replay) + Send),
    ) -> Result<(Replay, ReplayEnd), store::Error> {
        let TakenReplay { replay, mut lease } = taken;
        let (id, holder, stop) = (replay.id, lease.holder.clone(), CancellationToken::new());
        let waits = (options.canary_wait, options.wait);
        let mut work = Work::new((&self.store, &self.publisher), &holder, &stop, waits, on_progress, replay);
        let mut interruption = None;
        // Work is never dropped in the middle of a batch: an interruption ends it between two.
        let ended = {
            let working = work.run();
            tokio::pin!(working);
            tokio::select! {
                ended = &mut working => ended,
                found = lease.keep(&options.pause, &options.hand_over) => {
                    interruption = Some(found);
                    stop.cancel();
                    working.await
                }
            }
        };
        let ended = match ended {
            Ok(ended) => self.settle(id, ended, interruption, options).await,
            Err(cause) => Err(cause),
        };
        lease.release().await;
        ended
    }

    /// Records in the replay how work on it ended.
    async fn settle(
        &self,
        id: i64,
        ended: WorkEnd,
        interruption: Option<Interruption>,
        options: &WorkOptions,
    ) -> Result<(Replay, ReplayEnd), store::Error> {
        let end = match (ended, interruption) {
            (WorkEnd::Completed, _) => ReplayEnd::Completed,
            (WorkEnd::CanaryFailed, _) => ReplayEnd::CanaryFailed,
            (WorkEnd::CanariesUnderWay, _) => ReplayEnd::CanariesUnderWay,
            (WorkEnd::TooManyFailures, _) => ReplayEnd::TooManyFailures,
            (WorkEnd::PublishFailed(cause), _) => ReplayEnd::PublishFailed(cause),
            (WorkEnd::Interrupted, Some(Interruption::Pause)) => ReplayEnd::Paused,
            (WorkEnd::Interrupted, Some(Interruption::HandOver)) => ReplayEnd::HandedOver,
            (WorkEnd::Interrupted, Some(Interruption::LeaseLost)) => ReplayEnd::LeaseLost,
            // A claim was refused before the state was read.
            (WorkEnd::Interrupted, Some(Interruption::Withdrawn) | None) => ReplayEnd::Withdrawn,
        };
        let failure = match &end {
            ReplayEnd::CanaryFailed => Some("not every canary was resolved".to_owned()),
            ReplayEnd::TooManyFailures => Some("too many letters are dead again".to_owned()),
            ReplayEnd::PublishFailed(cause) if options.on_publish_failure == OnPublishFailure::Stop => {
                Some(cause.to_string())
            }
            _ => None,
        };
        if let Some(failure) = failure {
            replays::stop(&self.store, id, &failure).await?;
        } else if matches!(end, ReplayEnd::Paused) {
            replays::pause(&self.store, id, &options.by).await?;
        }
        let replay = replays::finish(&self.store, id).await?.unwrap_or_default();
        // Once every letter has an outcome, nothing is left to stop or to pause.
        let end = if replays::state(&replay) == Some(ReplayState::Done) { ReplayEnd::Completed } else { end };
        Ok((replay, end))
    }
}
