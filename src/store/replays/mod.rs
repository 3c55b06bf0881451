//! `replays` and `replay_letters`: replays of dead letters, which outlive the process that made them.
//!
//! Every change of a replay locks its row first, reads it and writes it whole. So changes follow each other, its counts agree with the
//! outcomes of its letters, and no letter is claimed for a replay once it has left the state `running`.

mod canaries;
mod claim_letters;
mod letter_outcomes;
mod prune_replays;
mod replay_history;
mod state_changes;

use std::collections::HashMap;

use chrono::Utc;
use entity::replay::{Column, Entity, Model};
use entity::replay_letter;
use sea_orm::ActiveValue::NotSet;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};

use super::bulk_statements::BulkInsert;
use super::letters::{Selected, storable};
use super::{Error, Store, Transaction, leases};
use crate::domain::replay::{ReplayState, ReplayTotals};
pub use canaries::canaries;
pub use claim_letters::{Claim, Claimed, Part, claim, release};
pub use letter_outcomes::{Collected, collect, dead_again};
pub use prune_replays::prune;
pub use replay_history::{ReplayAction, ReplayEntry, replay_history};
pub use state_changes::{Change, Resume, cancel, end_canary, finish, pause, resume, stop};

/// A row of `replays`.
pub type Replay = Model;

/// Maximum letters in one `INSERT`.
const MAX_INSERTED: usize = 10_000;
/// Maximum replays that are looked at together.
const MAX_REPLAYS: u64 = 1_000;

/// A replay to be made.
#[derive(Clone, Debug, Default)]
pub struct NewReplay {
    /// Who makes it.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// How the letters were selected, as a JSON object.
    pub selection: String,
    /// Maximum letters per second.
    pub rate: Option<u32>,
    /// How many letters go first.
    pub canary: Option<u32>,
    /// Stop when more than this percentage of the letters that ended is dead again.
    pub stop_on_failure: Option<f64>,
}

/// Makes a replay of the letters in `selected`, in that order, and gives its lease to `holder`, if there is one.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails. Nothing is made then.
pub async fn create(
    store: &Store,
    new: &NewReplay,
    selected: &[Selected],
    holder: Option<&str>,
) -> Result<Replay, Error> {
    let column = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let replay = Replay {
        created_at: Utc::now(),
        created_by: storable(&new.by),
        reason: new.reason.as_deref().map(storable),
        selection: new.selection.clone(),
        letters: i32::try_from(selected.len()).unwrap_or(i32::MAX),
        state: ReplayState::Running.as_str().to_owned(),
        rate: new.rate.map(column),
        canary: new.canary.map(column),
        stop_on_failure: new.stop_on_failure,
        changed_at: Utc::now(),
        ..Replay::default()
    };
    store
        .transaction(async |transaction| {
            let mut row = replay.clone().into_active_model().reset_all();
            row.id = NotSet;
            let replay = row.insert(&transaction.connection).await?;
            insert_letters(transaction, replay.id, selected).await?;
            replay_history::append(transaction, replay.id, &replay_history::started(&replay)).await?;
            if let Some(holder) = holder {
                leases::acquire_in(transaction, &lease_name(replay.id), holder).await?;
            }
            Ok(replay)
        })
        .await
}

async fn insert_letters(transaction: &Transaction, replay_id: i64, selected: &[Selected]) -> Result<(), Error> {
    use replay_letter::{Column, Entity};
    let connection = &transaction.connection;
    let letters: Vec<(i32, &Selected)> = (0..).zip(selected).collect();
    for letters in letters.chunks(MAX_INSERTED) {
        let inserts = BulkInsert::new(connection.get_database_backend(), letters)
            .values(Column::ReplayId, |_| replay_id)
            .values(Column::Position, |(position, _)| *position)
            .values(Column::MessageId, |(_, letter)| letter.id)
            .values(Column::Replays, |(_, letter)| letter.replays)
            .values(Column::Deaths, |(_, letter)| letter.deaths)
            .values(Column::BodyBytes, |(_, letter)| letter.body_bytes)
            .into_statements(Entity, |_| ())?;
        for insert in inserts {
            connection.execute_raw(insert).await?;
        }
    }
    Ok(())
}

/// The replay `id`, if it exists.
///
/// # Errors
/// As [`create`].
pub async fn load(store: &Store, id: i64) -> Result<Option<Replay>, Error> {
    store.read(async |connection| Ok(Entity::find_by_id(id).one(connection).await?)).await
}

/// The last `limit` replays in `state`, or in any, the newest first.
///
/// # Errors
/// As [`create`].
pub async fn latest(store: &Store, state: Option<ReplayState>, limit: u64) -> Result<Vec<Replay>, Error> {
    let mut select = Entity::find().order_by_desc(Column::Id).limit(limit);
    if let Some(state) = state {
        select = select.filter(Column::State.eq(state.as_str()));
    }
    store.read(async |connection| Ok(select.all(connection).await?)).await
}

/// The replays that have letters under way, the oldest first; at most 1,000.
///
/// # Errors
/// As [`create`].
pub async fn with_letters_under_way(store: &Store) -> Result<Vec<Replay>, Error> {
    let ended = [Column::Applied, Column::Stale, Column::Ignored, Column::Dead].map(Expr::col);
    let ended = ended.into_iter().reduce(ExprTrait::add).unwrap_or_else(|| Expr::value(0));
    let select = Entity::find().filter(Expr::col(Column::Replayed).gt(ended)).order_by_asc(Column::Id);
    let select = select.limit(MAX_REPLAYS);
    store.read(async |connection| Ok(select.all(connection).await?)).await
}

/// The ids of the running replays that no process works on, the oldest first.
///
/// # Errors
/// As [`create`].
pub async fn unattended(store: &Store) -> Result<Vec<i64>, Error> {
    let running =
        Entity::find().select_only().column(Column::Id).filter(Column::State.eq(ReplayState::Running.as_str()));
    let running = running.order_by_asc(Column::Id).limit(MAX_REPLAYS);
    let ids: Vec<i64> = store.read(async |connection| Ok(running.into_tuple().all(connection).await?)).await?;
    let workers = workers(store, &ids).await?;
    Ok(ids.into_iter().filter(|id| !workers.contains_key(id)).collect())
}

/// Which process works on each of the replays `ids`, if one does.
///
/// # Errors
/// As [`create`].
pub async fn workers(store: &Store, ids: &[i64]) -> Result<HashMap<i64, String>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<String> = ids.iter().map(|id| lease_name(*id)).collect();
    let mut holders = leases::holders(store, &names).await?;
    Ok(ids.iter().filter_map(|id| Some((*id, holders.remove(&lease_name(*id))?))).collect())
}

/// The name of the lease for the replay `id`.
#[must_use]
pub fn lease_name(id: i64) -> String {
    format!("replay:{id}")
}

/// The state of `replay`; `None` if the column holds an unknown one.
#[must_use]
pub fn state(replay: &Replay) -> Option<ReplayState> {
    ReplayState::parse(&replay.state)
}

/// The totals of `replay`.
#[must_use]
pub fn totals(replay: &Replay) -> ReplayTotals {
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    let ended = replay.applied + replay.stale + replay.ignored + replay.dead;
    ReplayTotals {
        selected: count(replay.letters),
        replayed: count(replay.replayed),
        skipped: count(replay.skipped),
        applied: count(replay.applied),
        stale: count(replay.stale),
        ignored: count(replay.ignored),
        dead: count(replay.dead),
        under_way: count(replay.replayed - ended),
    }
}

/// The replay `id`; on PostgreSQL locked until the transaction ends.
async fn lock(transaction: &Transaction, id: i64) -> Result<Option<Replay>, Error> {
    Ok(Entity::find_by_id(id).lock_exclusive().one(&transaction.connection).await?)
}

/// Writes a replay that [`lock`] has returned.
async fn write(transaction: &Transaction, replay: &Replay) -> Result<(), Error> {
    replay.clone().into_active_model().reset_all().update(&transaction.connection).await?;
    Ok(())
}
