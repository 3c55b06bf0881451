//! Lists letters by pages, for people who leaf through many of them.

use chrono::{DateTime, Utc};
use entity::dead_letter::Column;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, Iterable, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Letter;
use super::letter_queries::{Filter, matching};
use crate::store::{Error, Store};

/// A place in the list of letters, which is by last death, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last death of the letter at that place.
    pub died_at: DateTime<Utc>,
    /// The letter's id.
    pub id: Uuid,
}

impl Position {
    /// The place of `letter`.
    #[must_use]
    pub fn of(letter: &Letter) -> Self {
        Self { died_at: letter.last_died_at, id: letter.message_id }
    }

    /// The letters that come after this place. The first condition repeats a part of the second for the index.
    fn after(self) -> Condition {
        let is_older = Column::LastDiedAt.lt(self.died_at).or(Column::MessageId.lt(self.id));
        Condition::all().add(Column::LastDiedAt.lte(self.died_at)).add(is_older)
    }
}

/// At most [`Filter::limit`] of the letters that match and come after `after`, newest death first, with empty bodies. However far
/// back, a page reads no more than its own letters, as far as the filter has an index.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn page(store: &Store, filter: &Filter, after: Option<Position>) -> Result<Vec<Letter>, Error> {
    let by_age = Condition::all().add_option(class_by_age(store, filter));
    let filter = if by_age.is_empty() { filter } else { &Filter { class: None, ..filter.clone() } };
    let without_body = Column::iter().filter(|column| !matches!(column, Column::Body));
    let select = matching(filter)
        .filter(by_age)
        .select_only()
        .columns(without_body)
        .expr_as(Expr::value(Vec::<u8>::new()), "body");
    let select = select.filter(Condition::all().add_option(after.map(Position::after)));
    let newest_first = select.order_by_desc(Column::LastDiedAt).order_by_desc(Column::MessageId);
    store.read(async |connection| Ok(newest_first.all(connection).await?)).await
}

/// The condition for a class alone on SQLite, which would otherwise choose the index of kinds, and sort every letter of the class. The
/// sign keeps it from that, so that it follows the index by age.
fn class_by_age(store: &Store, filter: &Filter) -> Option<Expr> {
    let class = filter.class.filter(|_| store.is_sqlite() && filter.fingerprint.is_none())?;
    Some(Expr::cust("+failure_class").eq(class.as_str()))
}
