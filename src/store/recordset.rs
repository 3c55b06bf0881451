//! Many rows in one parameter, for PostgreSQL, which takes them apart itself.
//!
//! Binding each value of a few hundred rows means thousands of parameters: to write down, to bind and to read again, which
//! costs the two of us more than the rows do. SQLite has no such way in, and no wire to save on.

use sea_orm::sea_query::{Expr, ExprTrait, Func, InsertStatement, IntoIden, Query};
use serde::Serialize;

use super::Error;

/// Inserts `rows`, of which each has a member for each of `columns`, into `table`.
///
/// # Errors
/// [`Error::Rejected`] when a row has no form in JSON.
pub(super) fn insert<C: IntoIden + Copy>(
    table: &'static str,
    columns: &[C],
    rows: &[impl Serialize],
) -> Result<InsertStatement, Error> {
    let rows = serde_json::to_string(rows).map_err(|error| Error::Rejected(error.to_string()))?;
    let shape = Expr::cust(format!("NULL::{table}"));
    let taken_apart = Func::cust("json_populate_recordset").arg(shape).arg(Expr::value(rows).cast_as("json"));
    let select = Query::select().columns(columns.iter().copied()).from_function(taken_apart, "rows").take();
    let mut insert = Query::insert();
    insert.into_table(table).columns(columns.iter().copied());
    insert.select_from(select).map_err(|error| Error::Rejected(error.to_string()))?;
    Ok(insert)
}
