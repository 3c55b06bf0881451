//! Finds and counts dead letters, and splits them into batches.

use chrono::{DateTime, Utc};
use entity::dead_letter::{Column, Entity};
use entity::dead_letter_history;
use sea_orm::sea_query::{Expr, ExprTrait, IntoCondition};
use sea_orm::{ColumnTrait, Condition, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use super::{HistoryEntry, Letter};
use crate::domain::dead_letter::State;
use crate::domain::failure::FailureClass;
use crate::store::bulk_statements::id_in;
use crate::store::{Error, Store};

/// Maximum total size of the bodies in a batch of several letters.
const MAX_BYTES: i64 = 16 * 1024 * 1024;

/// Conditions for letters, all of which must hold. What is empty or `None` matches every letter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these ids.
    pub ids: Vec<Uuid>,
    /// This failure class.
    pub class: Option<FailureClass>,
    /// This type of webhook.
    pub event_type: Option<String>,
    /// A webhook about this entity.
    pub entity: Option<Uuid>,
    /// This fingerprint.
    pub fingerprint: Option<String>,
    /// The last death at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// The last death before this time.
    pub until: Option<DateTime<Utc>>,
    /// This state; an expired claim counts as dead.
    pub state: Option<State>,
    /// Maximum number of letters.
    pub limit: Option<u64>,
}

/// A selected letter, as it was at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Its id.
    pub id: Uuid,
    /// Its number of deaths: another number later means that it has been replayed and has died again.
    pub deaths: i32,
    /// Its number of replays: another number later means that a replay has claimed it.
    pub replays: i32,
    /// The size of its body.
    pub body_bytes: i32,
}

/// Dead letters that share a failure class and a fingerprint.
#[derive(Clone, Debug, FromQueryResult)]
pub struct FailureGroup {
    /// The failure class.
    pub failure_class: String,
    /// The fingerprint.
    pub fingerprint: String,
    /// The number of letters.
    pub count: i64,
    /// The oldest first death.
    pub first_seen: DateTime<Utc>,
    /// The oldest last death.
    pub oldest: DateTime<Utc>,
    /// The newest last death.
    pub newest: DateTime<Utc>,
    /// One of the failures.
    pub example: String,
}

/// Selects the letters that match, oldest death first: the work of a command.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn select(store: &Store, filter: &Filter) -> Result<Vec<Selected>, Error> {
    let columns =
        matching(filter).select_only().column_as(Column::MessageId, "id").columns([Column::Deaths, Column::Replays]);
    // The length is in bytes on both databases.
    let select = oldest_first(columns.expr_as(Expr::cust("length(body)"), "body_bytes"));
    // By position: looking up each column by its name costs more than the query.
    let rows: Vec<(Uuid, i32, i32, i32)> =
        store.read(async |connection| Ok(select.into_tuple().all(connection).await?)).await?;
    let selected = |(id, deaths, replays, body_bytes)| Selected { id, deaths, replays, body_bytes };
    Ok(rows.into_iter().map(selected).collect())
}

/// Like [`select`], limited to dead letters; none if the filter names another state.
///
/// # Errors
/// As [`select`].
pub async fn select_dead(store: &Store, filter: &Filter) -> Result<Vec<Selected>, Error> {
    match filter.state {
        None | Some(State::Dead) => select(store, &Filter { state: Some(State::Dead), ..filter.clone() }).await,
        Some(_) => Ok(Vec::new()),
    }
}

/// Splits `selected` into batches of at most `max_letters` letters and 16 MiB of bodies, in the same order, so that no command
/// holds all bodies in memory. A larger letter makes a batch of its own.
pub fn batches(selected: &[Selected], max_letters: usize) -> impl Iterator<Item = &[Selected]> {
    let (mut letters, mut bytes) = (0, 0);
    selected.chunk_by(move |letter, next| {
        letters += 1;
        bytes += i64::from(letter.body_bytes);
        let fits = letters < max_letters && bytes + i64::from(next.body_bytes) <= MAX_BYTES;
        if !fits {
            (letters, bytes) = (0, 0);
        }
        fits
    })
}

/// The current letters of `selected`, one of [`batches`], with their bodies, oldest death first.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn load_selected(store: &Store, selected: &[Selected]) -> Result<Vec<Letter>, Error> {
    let is_selected = id_in(&store.connection(), Column::MessageId, selected.iter().map(|selected| selected.id));
    store.read(async |connection| Ok(oldest_first(Entity::find().filter(is_selected)).all(connection).await?)).await
}

/// The letter `id`, if it exists.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn load_one(store: &Store, id: Uuid) -> Result<Option<Letter>, Error> {
    store.read(async |connection| Ok(Entity::find_by_id(id).one(connection).await?)).await
}

/// The history of the letter `id`, oldest entry first.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn history(store: &Store, id: Uuid) -> Result<Vec<HistoryEntry>, Error> {
    use dead_letter_history::{Column, Entity};
    let entries = Entity::find().filter(Column::MessageId.eq(id)).order_by_asc(Column::At).order_by_asc(Column::Id);
    store.read(async |connection| Ok(entries.all(connection).await?)).await
}

/// The dead letters by failure class and fingerprint, the largest group first.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn stats(store: &Store) -> Result<Vec<FailureGroup>, Error> {
    let groups = Entity::find()
        .select_only()
        .columns([Column::FailureClass, Column::Fingerprint])
        .expr_as(Column::MessageId.count(), "count")
        .expr_as(Column::FirstDiedAt.min(), "first_seen")
        .expr_as(Column::LastDiedAt.min(), "oldest")
        .expr_as(Column::LastDiedAt.max(), "newest")
        .expr_as(Column::Failure.min(), "example")
        .filter(in_state(State::Dead))
        .group_by(Column::FailureClass)
        .group_by(Column::Fingerprint)
        .order_by_desc(Column::MessageId.count())
        .order_by_asc(Column::Fingerprint);
    store.read(async |connection| Ok(groups.into_model().all(connection).await?)).await
}

/// Whether a letter is in `state` now; an expired claim counts as dead.
pub(super) fn in_state(state: State) -> Condition {
    let is = |state: State| Column::State.eq(state.as_str());
    let expired = || Column::ClaimedUntil.lt(Utc::now());
    // The partial index of open letters is used only if the query repeats its condition; the state is in no index.
    let open = |condition: Expr| Column::ResolvedAt.is_null().and(condition).into_condition();
    match state {
        State::Dead => open(is(state).or(is(State::Replaying).and(expired()))),
        State::Replaying => open(is(state).and(Column::ClaimedUntil.is_null().or(expired().not()))),
        State::Resolved | State::Discarded => is(state).into_condition(),
    }
}

/// The state of `letter` now, by the same rule; `None` if the column holds an unknown state.
#[must_use]
pub fn state_now(letter: &Letter) -> Option<State> {
    state_at(&letter.state, letter.claimed_until, Utc::now())
}

/// The same from the columns.
pub(super) fn state_at(state: &str, claimed_until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<State> {
    let expired = claimed_until.is_some_and(|until| until < now);
    match State::parse(state)? {
        State::Replaying if expired => Some(State::Dead),
        state => Some(state),
    }
}

pub(super) fn matching(filter: &Filter) -> Select<Entity> {
    let condition = Condition::all()
        .add_option(filter.class.map(|class| Column::FailureClass.eq(class.as_str())))
        .add_option(filter.event_type.as_deref().map(|event_type| Column::EventType.eq(event_type)))
        .add_option(filter.entity.map(|entity| Column::EntityId.eq(entity)))
        .add_option(filter.fingerprint.as_deref().map(|fingerprint| Column::Fingerprint.eq(fingerprint)))
        .add_option(filter.since.map(|since| Column::LastDiedAt.gte(since)))
        .add_option(filter.until.map(|until| Column::LastDiedAt.lt(until)))
        .add_option(filter.state.map(in_state))
        .add_option((!filter.ids.is_empty()).then(|| Column::MessageId.is_in(filter.ids.iter().copied())));
    Entity::find().filter(condition).limit(filter.limit)
}

fn oldest_first(select: Select<Entity>) -> Select<Entity> {
    select.order_by_asc(Column::LastDiedAt).order_by_asc(Column::MessageId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_in_number_and_in_bytes_and_a_larger_letter_goes_alone() {
        let half = i32::try_from(MAX_BYTES).unwrap() / 2;
        for (sizes, max_letters, expected) in [
            (vec![1; 7], 3, vec![3, 3, 1]),
            (vec![1; 3], 1, vec![1, 1, 1]),
            (Vec::new(), 3, Vec::new()),
            (vec![half, half, half, half, 1], 100, vec![2, 2, 1]),
            (vec![1, 4 * half, 1, 1], 100, vec![1, 1, 2]),
        ] {
            let letter = |body_bytes: i32| Selected { id: uuid::Uuid::nil(), deaths: 1, replays: 0, body_bytes };
            let selected: Vec<Selected> = sizes.into_iter().map(letter).collect();
            assert_eq!(batches(&selected, max_letters).map(<[Selected]>::len).collect::<Vec<_>>(), expected);
        }
    }
}
