//! The condition that selects rows by many ids.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend};
use uuid::Uuid;

/// Whether `column` is one of `ids`.
///
/// PostgreSQL gets one array, so that the statement has the same text for any number of ids and is prepared once. SQLite has no
/// arrays, and prepares a statement at almost no cost; there the caller must not exceed `MAX_BINDS`.
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
