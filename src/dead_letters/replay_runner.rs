//! Works on every running replay that no other process works on: what a long-lived process does for replays whose terminal was closed,
//! whose process was killed, or that were made or resumed on a page.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::replay_worker::{OnPublishFailure, ReplayEnd, ReplayWorker, Taken, WorkOptions};
use crate::domain::replay::ReplayState;
use crate::store::replays::{Replay, state, totals};
use crate::store::{self, replays};

/// Maximum replays that are worked on at a time.
const MAX_AT_ONCE: usize = 4;
/// How often replays without a process are looked for.
const STEP_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum parts of a replay that is not running, of 1,000 letters each, whose outcomes are collected in one step.
const MAX_PARTS: u32 = 10;
/// Wait for the outcomes of canaries, until another replay may have the place of theirs.
const CANARY_WAIT: Duration = Duration::from_secs(30);
/// Wait for the outcomes of a replay whose letters are all published, until another replay may have its place.
const WAIT: Duration = Duration::from_secs(2);

/// Works on replays that no other process works on.
pub struct ReplayRunner {
    worker: ReplayWorker,
    /// Each returns the replay that it worked on.
    tasks: JoinSet<i64>,
    working: HashSet<i64>,
    /// The replay that was taken last. The search goes on after it, so that every replay has its turn.
    last: i64,
    /// Where collecting the outcomes of replays that are not running goes on.
    collected_until: HashMap<i64, i32>,
    stop: CancellationToken,
}

impl ReplayRunner {
    /// A runner that leaves its replays to other processes once `stop` is cancelled.
    #[must_use]
    pub fn new(worker: ReplayWorker, stop: CancellationToken) -> Self {
        Self { worker, tasks: JoinSet::new(), working: HashSet::new(), last: 0, collected_until: HashMap::new(), stop }
    }

    /// Takes steps until `stop` is cancelled, and waits for the batches that are being published.
    pub async fn run(&mut self) {
        while !self.stop.is_cancelled() {
            let (stepped, collected) = (self.step().await, self.collect().await);
            if let Err(cause) = stepped.map(drop).and(collected) {
                warn!(%cause, "replays wait for the database");
            }
            self.stop.run_until_cancelled(tokio::time::sleep(STEP_INTERVAL)).await;
        }
        self.finish().await;
    }

    /// Begins to work on running replays that no other process works on, at most four at a time, and returns how many it works on now.
    /// Does nothing while RabbitMQ is away.
    ///
    /// # Errors
    /// Any [`store::Error`], when the database fails.
    pub async fn step(&mut self) -> Result<usize, store::Error> {
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended(ended);
        }
        if self.worker.publisher.ready().is_err() || self.working.len() >= MAX_AT_ONCE {
            return Ok(self.working.len());
        }
        let mut ids = replays::unattended(&self.worker.store).await?;
        // The ids are in order: those after the last one come first.
        let after = ids.partition_point(|id| *id <= self.last);
        ids.rotate_left(after);
        for id in ids {
            if self.working.len() >= MAX_AT_ONCE {
                break;
            }
            if self.working.insert(id) {
                self.last = id;
                self.spawn(id);
            }
        }
        Ok(self.working.len())
    }

    /// Collects outcomes of replays that are paused, stopped or cancelled while letters are under way, a part of them at each step. No process
    /// works on those, and a page that shows one collects for a moment only.
    ///
    /// # Errors
    /// Any [`store::Error`], when the database fails.
    pub async fn collect(&mut self) -> Result<(), store::Error> {
        let store = &self.worker.store;
        for replay in replays::with_letters_under_way(store).await? {
            if state(&replay) == Some(ReplayState::Running) {
                continue;
            }
            for _ in 0..MAX_PARTS {
                let after = self.collected_until.remove(&replay.id);
                let collected = replays::collect(store, replay.id, after).await?;
                let Some(next) = collected.next else { break };
                self.collected_until.insert(replay.id, next);
                if collected.ended == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Waits until the work that has begun ends.
    pub async fn finish(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<i64, tokio::task::JoinError>) {
        match ended {
            Ok(id) => drop(self.working.remove(&id)),
            Err(cause) => {
                // The panic's message may quote a body. Its lease expires; until then no process can take the replay.
                warn!(panicked = cause.is_panic(), "work on a replay ended unexpectedly");
                self.working.clear();
            }
        }
    }

    fn spawn(&mut self, id: i64) {
        let worker = self.worker.clone();
        let options = WorkOptions {
            canary_wait: CANARY_WAIT,
            wait: WAIT,
            on_publish_failure: OnPublishFailure::LeaveRunning,
            by: String::new(),
            pause: CancellationToken::new(),
            hand_over: self.stop.clone(),
        };
        self.tasks.spawn(async move {
            let work = async {
                if let Taken::Taken(taken) = worker.take(id, None).await? {
                    let (replay, end) = worker.work(*taken, &options, &mut |_| ()).await?;
                    log(&replay, &end);
                }
                Ok::<_, store::Error>(())
            };
            if let Err(cause) = work.await {
                warn!(%cause, replay.id = id, "work on the replay waits for the database");
            }
            id
        });
    }
}

fn log(replay: &Replay, end: &ReplayEnd) {
    let (id, state, totals) = (replay.id, &replay.state, totals(replay));
    match end {
        ReplayEnd::PublishFailed(cause) => {
            warn!(%cause, replay.id = id, "a letter of the replay could not be published");
        }
        ReplayEnd::CanaryFailed | ReplayEnd::TooManyFailures => {
            warn!(replay.id = id, state, failure = replay.failure, dead = totals.dead, "the replay has stopped");
        }
        // It is looked at again every few seconds.
        ReplayEnd::Completed | ReplayEnd::CanariesUnderWay if totals.under_way > 0 => {}
        _ => info!(replay.id = id, state, resolved = totals.resolved(), dead = totals.dead, "worked on the replay"),
    }
}
