//! Changes of a replay's state: which are permitted, and what else they change.

use chrono::Utc;
use tracing::info;

use super::canaries::canaries_in;
use super::replay_history::{Deed, append};
use super::{Replay, ReplayAction, lock, state, write};
use crate::domain::replay::ReplayState;
use crate::store::letters::storable;
use crate::store::{Error, Store, Transaction};

/// The result of a request to change a replay's state.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The replay has the requested state now, or had it already.
    Done(Replay),
    /// Its state does not permit the change.
    Refused(Replay),
    /// There is no such replay.
    Missing,
}

/// Which replays [`resume`] may make running.
#[derive(Clone, Copy, Debug)]
pub enum Resume<'a> {
    /// One that is paused.
    Paused,
    /// Also one that has stopped, for the reason given.
    Stopped(Option<&'a str>),
}

/// Pauses the replay `id`, if it is running. The process that works on it finishes its batch.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn pause(store: &Store, id: i64, by: &str) -> Result<Change, Error> {
    let deed = Deed { action: ReplayAction::Paused, by, detail: None };
    change(store, id, &[ReplayState::Running], ReplayState::Paused, Some(deed), |_| ()).await
}

/// Cancels the replay `id`, if it has not ended. Its letters that were not replayed stay dead.
///
/// # Errors
/// As [`pause`].
pub async fn cancel(store: &Store, id: i64, by: &str) -> Result<Change, Error> {
    let open = [ReplayState::Running, ReplayState::Paused, ReplayState::Stopped];
    let end = |replay: &mut Replay| replay.ended_at = Some(Utc::now());
    let deed = Deed { action: ReplayAction::Cancelled, by, detail: None };
    change(store, id, &open, ReplayState::Cancelled, Some(deed), end).await
}

/// Makes the replay `id` running, if it is paused, or stopped and `what` includes that. After a stop, canaries that have failed so far
/// keep the others back no more, and only letters that end from now on count for `stop_on_failure`. Canaries that have not ended are
/// still waited for. The history says why it had stopped, and the reason.
///
/// # Errors
/// As [`pause`].
pub async fn resume(store: &Store, id: i64, by: &str, what: Resume<'_>) -> Result<Change, Error> {
    let resumed = store.transaction(async |transaction| {
        let Some(mut replay) = lock(transaction, id).await? else { return Ok(Change::Missing) };
        let notes = match (state(&replay), what) {
            (Some(ReplayState::Running), _) => return Ok(Change::Done(replay)),
            (Some(ReplayState::Paused), _) => Vec::new(),
            (Some(ReplayState::Stopped), Resume::Stopped(reason)) => {
                let mut notes = excuse(transaction, &mut replay, by).await?;
                notes.extend(reason.map(str::to_owned));
                notes
            }
            _ => return Ok(Change::Refused(replay)),
        };
        let detail = (!notes.is_empty()).then(|| notes.join("; "));
        let deed = Deed { action: ReplayAction::Resumed, by, detail };
        set_state(transaction, &mut replay, ReplayState::Running, Some(&deed)).await?;
        Ok(Change::Done(replay))
    });
    Ok(logged(resumed.await?))
}

/// Takes the failures so far of a replay that stopped as accepted, and returns what they were.
async fn excuse(transaction: &Transaction, replay: &mut Replay, by: &str) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    notes.extend(replay.failure.take().map(|failure| format!("it had stopped: {failure}")));
    replay.resolved_before = replay.applied + replay.stale + replay.ignored;
    replay.dead_before = replay.dead;
    let canaries = canaries_in(&transaction.connection, replay).await?.filter(|_| replay.canary_ended_at.is_none());
    if let Some(canaries) = canaries.filter(|canaries| canaries.failed > replay.canaries_ignored) {
        replay.canaries_ignored = canaries.failed;
        replay.canaries_ignored_by = Some(storable(by));
        notes.push(format!("{} of {} canaries had failed", canaries.failed, canaries.total()));
    }
    Ok(notes)
}

/// Stops the replay `id`, if it is running, because of `failure`.
///
/// # Errors
/// As [`pause`].
pub async fn stop(store: &Store, id: i64, failure: &str) -> Result<Change, Error> {
    let fail = |replay: &mut Replay| replay.failure = Some(storable(failure));
    change(store, id, &[ReplayState::Running], ReplayState::Stopped, None, fail).await
}

/// Records that the canaries of the replay `id` were resolved.
///
/// # Errors
/// As [`pause`].
pub async fn end_canary(store: &Store, id: i64) -> Result<(), Error> {
    store
        .transaction(async |transaction| {
            if let Some(mut replay) = lock(transaction, id).await? {
                replay.canary_ended_at = Some(Utc::now());
                write(transaction, &replay).await?;
            }
            Ok(())
        })
        .await
}

/// Ends the replay `id` if all of its letters have an outcome, and returns it.
///
/// # Errors
/// As [`pause`].
pub async fn finish(store: &Store, id: i64) -> Result<Option<Replay>, Error> {
    store
        .transaction(async |transaction| {
            let Some(mut replay) = lock(transaction, id).await? else { return Ok(None) };
            if end_if_complete(&mut replay) {
                write(transaction, &replay).await?;
            }
            Ok(Some(replay))
        })
        .await
}

/// Sets the state `done` if every letter has an outcome. Returns whether it did.
pub(super) fn end_if_complete(replay: &mut Replay) -> bool {
    let is_open = matches!(state(replay), Some(ReplayState::Running | ReplayState::Paused));
    let ended = replay.applied + replay.stale + replay.ignored + replay.dead + replay.skipped;
    if !is_open || ended < replay.letters {
        return false;
    }
    ReplayState::Done.as_str().clone_into(&mut replay.state);
    replay.changed_at = Utc::now();
    replay.ended_at = Some(Utc::now());
    true
}

/// Sets the state `to` in a replay that is in one of the states `from`. If an operator does it, `deed` says what and who. `set` sees the
/// state before.
async fn change(
    store: &Store,
    id: i64,
    from: &[ReplayState],
    to: ReplayState,
    deed: Option<Deed<'_>>,
    set: impl Fn(&mut Replay),
) -> Result<Change, Error> {
    let change = async |transaction: &Transaction| {
        let Some(mut replay) = lock(transaction, id).await? else { return Ok(Change::Missing) };
        match state(&replay) {
            Some(current) if current == to => return Ok(Change::Done(replay)),
            Some(current) if from.contains(&current) => {}
            _ => return Ok(Change::Refused(replay)),
        }
        set(&mut replay);
        set_state(transaction, &mut replay, to, deed.as_ref()).await?;
        Ok(Change::Done(replay))
    };
    Ok(logged(store.transaction(change).await?))
}

/// Writes `replay`, which is locked, with the state `to`, and records who did it.
async fn set_state(
    transaction: &Transaction,
    replay: &mut Replay,
    to: ReplayState,
    deed: Option<&Deed<'_>>,
) -> Result<(), Error> {
    to.as_str().clone_into(&mut replay.state);
    replay.changed_at = Utc::now();
    if let Some(deed) = deed {
        replay.changed_by = Some(storable(deed.by));
        append(transaction, replay.id, deed).await?;
    }
    write(transaction, replay).await
}

fn logged(change: Change) -> Change {
    if let Change::Done(replay) = &change {
        info!(replay.id = replay.id, state = replay.state, by = ?replay.changed_by, "the state of a replay was set");
    }
    change
}
