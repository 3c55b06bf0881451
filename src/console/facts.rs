//! What the database and RabbitMQ say about how things stand. However many people look, it is asked once in a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::broker::{self, Connection, QueueState, queue_states};
use crate::domain::dead_letter::State;
use crate::domain::listed::Source;
use crate::store::letters::{self, FailureGroup, Filter};
use crate::store::outbox_counts::{self, Backlog};
use crate::store::{self, Store, reconcile_runs, replays};

/// Minimum age of facts that are read again.
const MIN_AGE: Duration = Duration::from_secs(1);
/// Facts are read again only after this many times as long as reading them took.
const PAUSE_FACTOR: u32 = 5;
/// How long RabbitMQ may take to tell the state of its queues.
const BROKER_DEADLINE: Duration = Duration::from_secs(3);

/// With more letters than this under way, a list of dead letters keeps to what the snapshot says.
const MANY_UNDER_WAY: usize = 10_000;

/// A part of the facts, or the class of the error in its place.
type Known<T> = Result<T, &'static str>;

/// How things stood at one moment.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) at: DateTime<Utc>,
    /// What is dead, by kind, the largest first.
    pub(super) kinds: Known<Vec<FailureGroup>>,
    /// How many replayed letters have no outcome yet.
    pub(super) under_way: Known<usize>,
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

    /// `filter`, limited to the time since when letters that match it are dead; `None` if none is.
    ///
    /// While a large replay is under way, a list would read every letter of it to find the few that are dead, because the state is in
    /// no index. Otherwise the filter is returned as it is: a snapshot is some seconds old.
    pub(super) fn narrowed(&self, filter: Filter) -> Option<Filter> {
        let many_under_way = self.under_way.is_ok_and(|letters| letters > MANY_UNDER_WAY);
        let Some(kinds) = self.kinds.as_ref().ok().filter(|_| many_under_way && filter.state == Some(State::Dead))
        else {
            return Some(filter);
        };
        let matches = |kind: &&FailureGroup| {
            filter.class.is_none_or(|class| class.as_str() == kind.failure_class)
                && filter.fingerprint.as_ref().is_none_or(|fingerprint| *fingerprint == kind.fingerprint)
        };
        let oldest = kinds.iter().filter(matches).map(|kind| kind.oldest).min()?;
        Some(Filter { since: filter.since.max(Some(oldest)), ..filter })
    }
}

/// When the last snapshot was read, how long that took, and the snapshot.
type Last = (Instant, Duration, Arc<Snapshot>);

/// Reads the facts.
pub(super) struct Facts {
    store: Store,
    connection: Connection,
    last: Mutex<Option<Last>>,
}

impl Facts {
    pub(super) fn new(store: Store, connection: Connection) -> Self {
        Self { store, connection, last: Mutex::default() }
    }

    /// The last snapshot, or a new one if that is too old. Those who ask meanwhile wait for the same one.
    pub(super) async fn snapshot(&self) -> Arc<Snapshot> {
        let mut last = self.last.lock().await;
        if let Some(snapshot) = fresh(last.as_ref()) {
            return snapshot;
        }
        let began = Instant::now();
        let snapshot = Arc::new(self.read().await);
        *last = Some((Instant::now(), began.elapsed(), Arc::clone(&snapshot)));
        snapshot
    }

    /// `filter` as [`Snapshot::narrowed`], if the last snapshot is not too old. It waits for no other.
    pub(super) fn narrowed(&self, filter: Filter) -> Option<Filter> {
        match self.last.try_lock().ok().and_then(|last| fresh(last.as_ref())) {
            Some(snapshot) => snapshot.narrowed(filter),
            None => Some(filter),
        }
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
        let (kinds, under_way, outbox, complete_until, queues) = tokio::join!(
            letters::stats(&self.store),
            replays::with_letters_under_way(&self.store),
            outbox_counts::backlog(&self.store),
            self.complete_until(),
            timeout(BROKER_DEADLINE, queue_states(&self.connection)),
        );
        let class = |error: &store::Error| error.class();
        Snapshot {
            at: Utc::now(),
            kinds: kinds.as_ref().map_err(class).cloned(),
            under_way: under_way
                .map_err(|error| error.class())
                .map(|replays| replays.iter().map(|replay| replays::totals(replay).under_way).sum()),
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

/// The snapshot, unless it is too old.
fn fresh(last: Option<&Last>) -> Option<Arc<Snapshot>> {
    let (at, took, snapshot) = last?;
    (at.elapsed() < MIN_AGE.max(*took * PAUSE_FACTOR)).then(|| Arc::clone(snapshot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::FailureClass;

    fn kind(failure_class: &str, fingerprint: &str, oldest: i64) -> FailureGroup {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let (failure_class, fingerprint) = (failure_class.to_owned(), fingerprint.to_owned());
        let (first_seen, oldest, newest) = (at(0), at(oldest), at(1_000));
        FailureGroup { failure_class, fingerprint, count: 1, first_seen, oldest, newest, example: String::new() }
    }

    fn snapshot(under_way: usize) -> Snapshot {
        Snapshot {
            at: Utc::now(),
            kinds: Ok(vec![kind("panicked", "a", 300), kind("panicked", "b", 200), kind("invalid_webhook", "c", 100)]),
            under_way: Ok(under_way),
            outbox: Err("unavailable"),
            complete_until: Err("unavailable"),
            queues: Err("unavailable"),
        }
    }

    /// The seconds since 1970 since which dead letters are listed; `None` if none are.
    fn since(snapshot: &Snapshot, filter: Filter) -> Option<Option<i64>> {
        Some(snapshot.narrowed(filter)?.since.map(|since| since.timestamp()))
    }

    #[test]
    fn while_many_letters_are_under_way_the_list_looks_only_where_some_are_dead() {
        let many = snapshot(MANY_UNDER_WAY + 1);
        let dead = || Filter { state: Some(State::Dead), ..Filter::default() };
        assert_eq!(since(&many, dead()), Some(Some(100)));
        assert_eq!(since(&many, Filter { class: Some(FailureClass::Panicked), ..dead() }), Some(Some(200)));
        assert_eq!(since(&many, Filter { fingerprint: Some("a".into()), ..dead() }), Some(Some(300)));
        assert_eq!(since(&many, Filter { fingerprint: Some("d".into()), ..dead() }), None);
        let later = DateTime::from_timestamp(500, 0);
        assert_eq!(since(&many, Filter { since: later, ..dead() }), Some(Some(500)));
    }

    #[test]
    fn a_list_does_not_depend_on_an_old_snapshot_otherwise() {
        let dead = || Filter { state: Some(State::Dead), ..Filter::default() };
        assert_eq!(since(&snapshot(MANY_UNDER_WAY), dead()), Some(None));
        let many = snapshot(MANY_UNDER_WAY + 1);
        assert_eq!(since(&many, Filter { state: Some(State::Replaying), ..dead() }), Some(None));
        assert_eq!(since(&many, Filter::default()), Some(None));
        assert_eq!(since(&Snapshot { kinds: Err("unavailable"), ..many.clone() }, dead()), Some(None));
        assert_eq!(since(&Snapshot { under_way: Err("unavailable"), ..many }, dead()), Some(None));
    }
}
