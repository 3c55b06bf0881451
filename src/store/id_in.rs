//! Asking for the rows of many ids at once.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend};
use uuid::Uuid;

/// Whether `column` is one of `ids`.
///
/// PostgreSQL takes them as one array, so that a statement has one text however many they are, and is prepared once. SQLite
/// has no arrays, and prepares at next to no cost.
pub(super) fn id_in(
    connection: &impl ConnectionTrait,
    column: impl ColumnTrait,
    ids: impl IntoIterator<Item = Uuid>,
) -> Expr {
    match connection.get_database_backend() {
        DbBackend::Postgres => column.eq_any(ids),
        _ => column.is_in(ids),
    }
}
