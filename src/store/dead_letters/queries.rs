//! Finds dead letters.

use chrono::{DateTime, Utc};
use entity::dead_letter::{Column, Entity};
use entity::dead_letter_history;
use sea_orm::sea_query::{Expr, ExprTrait, IntoCondition, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Iterable, QueryFilter, QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

use super::{HistoryEntry, Letter};
use crate::domain::dead_letter::State;
use crate::domain::failure::FailureClass;
use crate::store::id_in::id_in;
use crate::store::{Error, Store};

/// Which letters; what is not said does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these.
    pub ids: Vec<Uuid>,
    /// Of that class.
    pub class: Option<FailureClass>,
    /// Of webhooks of that type.
    pub event_type: Option<String>,
    /// About that entity.
    pub entity: Option<Uuid>,
    /// Of that kind of failure.
    pub fingerprint: Option<String>,
    /// That died last at that time or later.
    pub since: Option<DateTime<Utc>>,
    /// That died last before that time.
    pub until: Option<DateTime<Utc>>,
    /// In that state. A letter whose replay was given up half-way is dead.
    pub state: Option<State>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// A letter that was chosen, as it was then: the number of its deaths tells one life from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Its id.
    pub id: Uuid,
    /// How often it had died.
    pub deaths: i32,
    /// The size of its body.
    pub body_bytes: usize,
}

/// A kind of failure among what is dead.
#[derive(Clone, Debug)]
pub struct FailureGroup {
    /// The class.
    pub failure_class: String,
    /// The fingerprint.
    pub fingerprint: String,
    /// How many letters.
    pub count: i64,
    /// The oldest last death.
    pub oldest: DateTime<Utc>,
    /// The newest last death.
    pub newest: DateTime<Utc>,
    /// One of the failures.
    pub example: String,
}

/// What is dead now, for the metrics.
#[derive(Clone, Debug)]
pub struct DeadLetterCounts {
    /// Letters by failure class.
    pub by_class: Vec<(String, u64)>,
    /// The oldest last death.
    pub oldest: Option<DateTime<Utc>>,
}

/// The letters that match, newest death first, with empty bodies.
///
/// # Errors
/// When the database is away.
pub async fn list(store: &Store, filter: &Filter) -> Result<Vec<Letter>, Error> {
    let but_the_body = Column::iter().filter(|column| !matches!(column, Column::Body));
    let select = matching(filter).select_only().columns(but_the_body).expr_as(Expr::value(Vec::<u8>::new()), "body");
    let newest_first = select.order_by_desc(Column::LastDiedAt).order_by_desc(Column::MessageId);
    Ok(newest_first.all(&store.connection).await?)
}

/// What matches, oldest death first: what a command takes on when it begins.
///
/// # Errors
/// When the database is away.
pub async fn select(store: &Store, filter: &Filter) -> Result<Vec<Selected>, Error> {
    let columns = matching(filter).select_only().columns([Column::MessageId, Column::Deaths]);
    // In bytes on both databases.
    let select = oldest_first(columns.expr(Expr::cust("length(body)")));
    let chosen: Vec<(Uuid, i32, i32)> = select.into_tuple().all(&store.connection).await?;
    let chosen = chosen.into_iter().map(|(id, deaths, bytes)| (id, deaths, usize::try_from(bytes).unwrap_or_default()));
    Ok(chosen.map(|(id, deaths, body_bytes)| Selected { id, deaths, body_bytes }).collect())
}

/// The same, of what is dead and nothing else.
///
/// # Errors
/// When the database is away.
pub async fn select_dead(store: &Store, filter: &Filter) -> Result<Vec<Selected>, Error> {
    match filter.state {
        None | Some(State::Dead) => select(store, &Filter { state: Some(State::Dead), ..filter.clone() }).await,
        Some(_) => Ok(Vec::new()),
    }
}

/// The letters that were `chosen`, as they are now, bodies and all, oldest death first. For a lot of them.
///
/// # Errors
/// When the database is away.
pub async fn fetch(store: &Store, chosen: &[Selected]) -> Result<Vec<Letter>, Error> {
    let are_chosen = id_in(&store.connection, Column::MessageId, chosen.iter().map(|chosen| chosen.id));
    Ok(oldest_first(Entity::find().filter(are_chosen)).all(&store.connection).await?)
}

/// One letter.
///
/// # Errors
/// When the database is away.
pub async fn find(store: &Store, id: Uuid) -> Result<Option<Letter>, Error> {
    Ok(Entity::find_by_id(id).one(&store.connection).await?)
}

/// What happened to a letter, in order.
///
/// # Errors
/// When the database is away.
pub async fn history(store: &Store, id: Uuid) -> Result<Vec<HistoryEntry>, Error> {
    use dead_letter_history::{Column, Entity};
    let entries = Entity::find().filter(Column::MessageId.eq(id)).order_by_asc(Column::At).order_by_asc(Column::Id);
    Ok(entries.all(&store.connection).await?)
}

/// What is dead, by kind of failure, the most frequent first.
///
/// # Errors
/// When the database is away.
pub async fn stats(store: &Store) -> Result<Vec<FailureGroup>, Error> {
    let select = Query::select()
        .columns([Column::FailureClass, Column::Fingerprint])
        .expr_as(Expr::col(Column::MessageId).count(), "letters")
        .expr_as(Expr::col(Column::LastDiedAt).min(), "oldest")
        .expr_as(Expr::col(Column::LastDiedAt).max(), "newest")
        .expr_as(Expr::col(Column::Failure).min(), "example")
        .from(Entity)
        .cond_where(in_state(State::Dead))
        .group_by_columns([Column::FailureClass, Column::Fingerprint])
        .take();
    let mut kinds = Vec::new();
    for row in store.connection.query_all(&select).await? {
        kinds.push(FailureGroup {
            failure_class: row.try_get("", "failure_class")?,
            fingerprint: row.try_get("", "fingerprint")?,
            count: row.try_get("", "letters")?,
            oldest: row.try_get("", "oldest")?,
            newest: row.try_get("", "newest")?,
            example: row.try_get("", "example")?,
        });
    }
    kinds.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.fingerprint.cmp(&other.fingerprint)));
    Ok(kinds)
}

/// Counts what is dead, by class.
///
/// # Errors
/// When the database is away.
pub async fn counts(store: &Store) -> Result<DeadLetterCounts, Error> {
    let mut counts = DeadLetterCounts { by_class: Vec::new(), oldest: None };
    for kind in stats(store).await? {
        let count = kind.count.unsigned_abs();
        match counts.by_class.iter_mut().find(|(class, _)| *class == kind.failure_class) {
            Some((_, letters)) => *letters += count,
            None => counts.by_class.push((kind.failure_class, count)),
        }
        counts.oldest = Some(counts.oldest.map_or(kind.oldest, |known| Ord::min(known, kind.oldest)));
    }
    Ok(counts)
}

/// Whether a letter is in that state now. A claim that ran out counts as dead.
pub(super) fn in_state(state: State) -> Condition {
    let is = |state: State| Column::State.eq(state.as_str());
    let ran_out = || Column::ClaimedUntil.lt(Utc::now());
    // Said of those that are open because their index is of those: it knows no states.
    let open = |is: Expr| Column::ResolvedAt.is_null().and(is).into_condition();
    match state {
        State::Dead => open(is(state).or(is(State::Replaying).and(ran_out()))),
        State::Replaying => open(is(state).and(Column::ClaimedUntil.is_null().or(ran_out().not()))),
        State::Resolved | State::Discarded => is(state).into_condition(),
    }
}

/// The state of a letter in hand now, by the same rule; `None` if it is in none that there is.
#[must_use]
pub fn state_now(letter: &Letter) -> Option<State> {
    let ran_out = letter.claimed_until.is_some_and(|until| until < Utc::now());
    match State::parse(&letter.state)? {
        State::Replaying if ran_out => Some(State::Dead),
        state => Some(state),
    }
}

fn matching(filter: &Filter) -> Select<Entity> {
    let given = |value: &Option<String>, column: Column| value.as_ref().map(|value| column.eq(value.as_str()));
    let mut condition = Condition::all()
        .add_option(filter.class.map(|class| Column::FailureClass.eq(class.as_str())))
        .add_option(given(&filter.event_type, Column::EventType))
        .add_option(filter.entity.map(|entity| Column::EntityId.eq(entity)))
        .add_option(given(&filter.fingerprint, Column::Fingerprint))
        .add_option(filter.since.map(|since| Column::LastDiedAt.gte(since)))
        .add_option(filter.until.map(|until| Column::LastDiedAt.lt(until)))
        .add_option(filter.state.map(in_state));
    if !filter.ids.is_empty() {
        condition = condition.add(Column::MessageId.is_in(filter.ids.iter().copied()));
    }
    Entity::find().filter(condition).limit(filter.limit)
}

fn oldest_first(select: Select<Entity>) -> Select<Entity> {
    select.order_by_asc(Column::LastDiedAt).order_by_asc(Column::MessageId)
}
