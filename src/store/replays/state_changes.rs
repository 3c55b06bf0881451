//! Changes of a replay's state: which are permitted, and what else they change.

use chrono::Utc;
use tracing::info;

use super::replay_history::append;
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

/// Pauses the replay `id`, if it is running. The process that works on it finishes its batch.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn pause(store: &Store, id: i64, by: &str) -> Result<Change, Error> {
    let by = Some((ReplayAction::Paused, by));
    change(store, id, &[ReplayState::Running], ReplayState::Paused, by, |_| ()).await
}

/// Cancels the replay `id`, if it has not ended. Its letters that were not replayed stay dead.
///
/// # Errors
/// As [`pause`].
pub async fn cancel(store: &Store, id: i64, by: &str) -> Result<Change, Error> {
    let open = [ReplayState::Running, ReplayState::Paused, ReplayState::Stopped];
    let end = |replay: &mut Replay| replay.ended_at = Some(Utc::now());
    change(store, id, &open, ReplayState::Cancelled, Some((ReplayAction::Cancelled, by)), end).await
}

/// Makes the replay `id` running, if it is paused or stopped. After a stop it goes on although canaries have failed, and only letters
/// that end from now on count for `stop_on_failure`.
///
/// # Errors
/// As [`pause`].
pub async fn resume(store: &Store, id: i64, by: &str) -> Result<Change, Error> {
    let again = |replay: &mut Replay| {
        replay.failure = None;
        if state(replay) == Some(ReplayState::Stopped) {
            replay.canary_ended_at = replay.canary_ended_at.or(Some(Utc::now()));
            replay.resolved_before = replay.applied + replay.stale + replay.ignored;
            replay.dead_before = replay.dead;
        }
    };
    let by = Some((ReplayAction::Resumed, by));
    change(store, id, &[ReplayState::Paused, ReplayState::Stopped], ReplayState::Running, by, again).await
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

/// Sets the state `to` in a replay that is in one of the states `from`. If an operator does it, `by` says what and who. `set` sees the
/// state before.
async fn change(
    store: &Store,
    id: i64,
    from: &[ReplayState],
    to: ReplayState,
    by: Option<(ReplayAction, &str)>,
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
        to.as_str().clone_into(&mut replay.state);
        replay.changed_at = Utc::now();
        if let Some((action, by)) = by {
            replay.changed_by = Some(storable(by));
            append(transaction, &replay, action, by).await?;
        }
        write(transaction, &replay).await?;
        Ok(Change::Done(replay))
    };
    let changed = store.transaction(change).await?;
    if let Change::Done(replay) = &changed {
        info!(replay.id = id, state = replay.state, by = ?replay.changed_by, "the state of a replay was set");
    }
    Ok(changed)
}
