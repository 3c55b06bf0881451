//! Sums a selection of dead letters up, for pages that only have to say what it is: reading each of 100,000 letters takes several times
//! as long.

use chrono::{DateTime, Utc};
use entity::dead_letter::Column;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, FromQueryResult, QuerySelect};

use super::letter_queries::{Filter, Selected, matching};
use crate::domain::dead_letter::State;
use crate::store::{Error, Store};

/// A selection of dead letters, in numbers. Other letters, or the same in another of their lives, have other numbers: the sums are modulo a
/// prime number, over when each letter was received, to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct Summary {
    /// The number of letters.
    pub count: i64,
    /// The oldest last death.
    pub oldest: Option<DateTime<Utc>>,
    /// The newest last death.
    pub newest: Option<DateTime<Utc>>,
    received: Option<i64>,
    deaths: Option<i64>,
    replays: Option<i64>,
}

impl Summary {
    /// What a proof that a person has seen this selection covers.
    #[must_use]
    pub fn proof(&self) -> Vec<u8> {
        format!("{self:?}").into_bytes()
    }

    /// Whether it counts as many letters as were selected.
    #[must_use]
    pub fn counts(&self, selected: &[Selected]) -> bool {
        usize::try_from(self.count) == Ok(selected.len())
    }
}

/// Sums up the dead letters that match; none if the filter names another state. It must have no limit.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn summarize_dead(store: &Store, filter: &Filter) -> Result<Summary, Error> {
    if filter.state.is_some_and(|state| state != State::Dead) {
        return Ok(Summary::default());
    }
    let sum = |of: &str| Expr::cust(format!("CAST(sum({of}) AS bigint)"));
    let select = matching(&Filter { state: Some(State::Dead), ..filter.clone() })
        .select_only()
        .expr_as(Column::MessageId.count(), "count")
        .expr_as(Column::LastDiedAt.min(), "oldest")
        .expr_as(Column::LastDiedAt.max(), "newest")
        .expr_as(sum("received_nanos % 2147483647"), "received")
        .expr_as(sum("received_nanos % 2147483647 * deaths % 2147483647"), "deaths")
        .expr_as(sum("received_nanos % 2147483647 * replays % 2147483647"), "replays");
    let summary = store.read(async |connection| Ok(select.into_model().one(connection).await?)).await?;
    Ok(summary.unwrap_or_default())
}
