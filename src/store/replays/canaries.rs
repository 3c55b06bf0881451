//! What became of a replay's canaries: the first letters, which are waited for before the others go.

use entity::replay_letter::{Column, Entity};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use super::Replay;
use crate::domain::canaries::Canaries;
use crate::domain::replay::LetterOutcome;
use crate::store::{Error, Store};

/// What became of the canaries of `replay`, its first letters; `None` if it has none.
///
/// # Errors
/// Any [`Error`], when the query fails.
pub async fn canaries(store: &Store, replay: &Replay) -> Result<Option<Canaries>, Error> {
    store.read(async |connection| canaries_in(connection, replay).await).await
}

/// As [`canaries`], in a transaction of the caller's.
pub(super) async fn canaries_in(connection: &impl ConnectionTrait, replay: &Replay) -> Result<Option<Canaries>, Error> {
    let Some(canary) = replay.canary else { return Ok(None) };
    let canary = canary.min(replay.letters);
    let outcomes = Entity::find()
        .select_only()
        .column(Column::Outcome)
        .column_as(Column::Position.count(), "letters")
        .filter(Column::ReplayId.eq(replay.id))
        .filter(Column::Position.lt(canary))
        .filter(Column::Outcome.is_not_null())
        .group_by(Column::Outcome);
    let outcomes: Vec<(String, i64)> = outcomes.into_tuple().all(connection).await?;
    let failures = [LetterOutcome::Dead, LetterOutcome::Skipped].map(LetterOutcome::as_str);
    let mut canaries = Canaries { open: canary, ..Canaries::default() };
    for (outcome, letters) in outcomes {
        let letters = i32::try_from(letters).unwrap_or(i32::MAX);
        canaries.open -= letters;
        *if failures.contains(&outcome.as_str()) { &mut canaries.failed } else { &mut canaries.resolved } += letters;
    }
    Ok(Some(canaries))
}
