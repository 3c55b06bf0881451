//! Statements about many rows, in the form that is cheapest on each database.
//!
//! PostgreSQL gets one parameter for each column and expands them into rows in step, so a statement has the same text for any
//! number of rows and is prepared once. Binding one parameter for each value costs client and server more than the insert
//! itself. A column as an array costs the server a fifth of what it costs as JSON, and one JSON document for all rows would cost
//! even more, because it looks up each member by name. SQLite cannot expand parameters, and prepares a statement at almost no
//! cost; it gets one parameter for each value.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::postgres_array::NotU8;
use sea_orm::sea_query::{DynIden, Expr, ExprTrait, Func, InsertStatement, IntoIden, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, DbErr, Value};
use serde::Serialize;

use super::MAX_BINDS;

/// Whether `column` is one of `ids`. On SQLite the caller must not exceed [`MAX_BINDS`].
pub(super) fn id_in<V: Into<Value> + NotU8>(
    connection: &impl ConnectionTrait,
    column: impl ColumnTrait,
    ids: impl IntoIterator<Item = V>,
) -> Expr {
    match connection.get_database_backend() {
        DbBackend::Postgres => column.eq_any(ids),
        _ => column.is_in(ids),
    }
}

/// Builds `INSERT` statements for `rows`, column by column.
pub(super) struct BulkInsert<'a, R> {
    rows: &'a [R],
    columns: Vec<DynIden>,
    values: Values,
}

enum Values {
    /// For PostgreSQL: for each column a function that expands one parameter into the values of all rows.
    ByColumn(Vec<Expr>),
    /// For SQLite: the values of each row.
    ByRow(Vec<Vec<Expr>>),
}

impl<'a, R> BulkInsert<'a, R> {
    /// A builder for a table on `backend`, without columns yet.
    pub(super) fn new(backend: DbBackend, rows: &'a [R]) -> Self {
        let values = match backend {
            DbBackend::Postgres => Values::ByColumn(Vec::new()),
            _ => Values::ByRow(rows.iter().map(|_| Vec::new()).collect()),
        };
        Self { rows, columns: Vec::new(), values }
    }

    /// Adds a column of texts, UUIDs, numbers or times that are not null.
    pub(super) fn values<T>(self, column: impl IntoIden, get: impl Fn(&'a R) -> T) -> Self
    where
        T: Into<Value>,
        Vec<T>: Into<Value>,
    {
        let array = |rows: &'a [R]| Func::cust("unnest").arg(rows.iter().map(&get).collect::<Vec<T>>().into()).into();
        self.add(column, array, |row| get(row).into())
    }

    /// Adds a column of nullable texts; an empty text becomes null, because SeaORM's arrays hold no nulls.
    pub(super) fn texts(self, column: impl IntoIden, get: impl Fn(&'a R) -> Option<&'a str>) -> Self {
        let array = |rows: &'a [R]| {
            let texts: Vec<String> = rows.iter().map(|row| get(row).unwrap_or_default().to_owned()).collect();
            Func::cust("nullif").arg(Func::cust("unnest").arg(texts)).arg(Expr::cust("''")).into()
        };
        self.add(column, array, |row| get(row).filter(|text| !text.is_empty()).into())
    }

    /// Adds a column of nullable times after the year 1000.
    pub(super) fn times(self, column: impl IntoIden, get: impl Fn(&'a R) -> Option<DateTime<Utc>>) -> Self {
        let array = |rows: &'a [R]| {
            let none = DateTime::UNIX_EPOCH - TimeDelta::days(365_000);
            let times: Vec<DateTime<Utc>> = rows.iter().map(|row| get(row).unwrap_or(none)).collect();
            Func::cust("nullif").arg(Func::cust("unnest").arg(times)).arg(none).into()
        };
        self.add(column, array, |row| get(row).into())
    }

    /// Adds a column of JSON, stored byte for byte as `get` serialises. All values are sent as one JSON array.
    pub(super) fn json<T: Serialize>(self, column: impl IntoIden, get: impl Fn(&'a R) -> T) -> Self {
        let array = |rows: &'a [R]| {
            let values = json(&rows.iter().map(&get).collect::<Vec<_>>());
            Func::cust("json_array_elements").arg(Expr::value(values).cast_as("json")).into()
        };
        self.add(column, array, |row| json(&get(row)).into())
    }

    /// The statements that insert all rows into `table`: none for no rows, one on PostgreSQL, and on SQLite as many as its limit
    /// of parameters requires. Never fails in practice: sea-query checks that there are as many values as columns.
    pub(super) fn into_statements(self, table: impl IntoIden) -> Result<Vec<InsertStatement>, DbErr> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        let mismatch = |error: sea_orm::sea_query::error::Error| DbErr::Custom(error.to_string());
        let max_rows = MAX_BINDS / self.columns.len().max(1);
        let mut insert = Query::insert().into_table(table.into_iden()).columns(self.columns).take();
        match self.values {
            Values::ByColumn(values) => {
                insert.select_from(Query::select().exprs(values).take()).map_err(mismatch)?;
                Ok(vec![insert])
            }
            Values::ByRow(rows) => {
                let (mut statements, mut rows) = (Vec::new(), rows.into_iter());
                while rows.len() > 0 {
                    let mut insert = insert.clone();
                    for values in rows.by_ref().take(max_rows) {
                        insert.values(values).map_err(mismatch)?;
                    }
                    statements.push(insert);
                }
                Ok(statements)
            }
        }
    }

    fn add(mut self, column: impl IntoIden, all: impl FnOnce(&'a [R]) -> Expr, one: impl Fn(&'a R) -> Value) -> Self {
        self.columns.push(column.into_iden());
        match &mut self.values {
            Values::ByColumn(values) => values.push(all(self.rows)),
            Values::ByRow(rows) => {
                for (values, row) in rows.iter_mut().zip(self.rows) {
                    values.push(one(row).into());
                }
            }
        }
        self
    }
}

/// Nothing that is written here can fail to serialise; the empty text would be rejected as invalid JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
