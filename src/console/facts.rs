//! What the database and RabbitMQ say about how things stand. However many people look, it is asked once in a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::broker::{self, Connection, QueueState, queue_states};
use crate::domain::listed::Source;
use crate::store::letters::{self, FailureGroup};
use crate::store::outbox_counts::{self, Backlog};
use crate::store::{self, Store, reconcile_runs};

/// Minimum age of facts that are read again.
const MIN_AGE: Duration = Duration::from_secs(1);
/// Facts are read again only after this many times as long as reading them took.
const PAUSE_FACTOR: u32 = 5;
/// How long RabbitMQ may take to tell the state of its queues.
const BROKER_DEADLINE: Duration = Duration::from_secs(3);

/// A part of the facts, or the class of the error in its place.
type Known<T> = Result<T, &'static str>;

/// How things stood at one moment.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) at: DateTime<Utc>,
    /// What is dead, by kind, the largest first.
    pub(super) kinds: Known<Vec<FailureGroup>>,
    pub(super) outbox: Known<Backlog>,
    /// Up to when Lean's lists are accounted for, those that were ever.
    pub(super) complete_until: Known<Vec<(Source, DateTime<Utc>)>>,
    pub(super) queues: Known<Vec<QueueState>>,
}

impl Snapshot {
    /// How many letters are dead.
    pub(super) fn dead(&self) -> Known<i64> {
        self.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| kind.count).sum()).map_err(|class| *class)
    }

    /// The oldest last death of what is dead.
    pub(super) fn oldest_death(&self) -> Option<DateTime<Utc>> {
        self.kinds.as_ref().ok()?.iter().map(|kind| kind.oldest).min()
    }
}

/// Reads the facts.
pub(super) struct Facts {
    store: Store,
    connection: Connection,
    /// The last snapshot, when it was read, and how long that took.
    last: Mutex<Option<(Instant, Duration, Arc<Snapshot>)>>,
}

impl Facts {
    pub(super) fn new(store: Store, connection: Connection) -> Self {
        Self { store, connection, last: Mutex::default() }
    }

    /// The last snapshot, or a new one if that is too old. Those who ask meanwhile wait for the same one.
    pub(super) async fn snapshot(&self) -> Arc<Snapshot> {
        let mut last = self.last.lock().await;
        if let Some((at, took, snapshot)) = &*last
            && at.elapsed() < MIN_AGE.max(*took * PAUSE_FACTOR)
        {
            return Arc::clone(snapshot);
        }
        let began = Instant::now();
        let snapshot = Arc::new(self.read().await);
        *last = Some((Instant::now(), began.elapsed(), Arc::clone(&snapshot)));
        snapshot
    }

    /// Forgets the snapshot, after a change that people want to see.
    pub(super) async fn forget(&self) {
        *self.last.lock().await = None;
    }

    /// The connection on which RabbitMQ is asked.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    async fn read(&self) -> Snapshot {
        let (kinds, outbox, complete_until, queues) = tokio::join!(
            letters::stats(&self.store),
            outbox_counts::backlog(&self.store),
            self.complete_until(),
            timeout(BROKER_DEADLINE, queue_states(&self.connection)),
        );
        let class = |error: &store::Error| error.class();
        Snapshot {
            at: Utc::now(),
            kinds: kinds.as_ref().map_err(class).cloned(),
            outbox: outbox.as_ref().map_err(class).copied(),
            complete_until: complete_until.as_ref().map_err(class).cloned(),
            queues: queues.unwrap_or(Err(broker::Error::TimedOut)).map_err(|error| error.class()),
        }
    }

    async fn complete_until(&self) -> Result<Vec<(Source, DateTime<Utc>)>, store::Error> {
        let mut complete = Vec::new();
        for source in [Source::Events, Source::Entities] {
            complete.extend(reconcile_runs::complete_until(&self.store, source).await?.map(|until| (source, until)));
        }
        Ok(complete)
    }
}
