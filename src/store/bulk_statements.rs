//! Statements about many rows, in the form that is cheapest on each database.
//!
//! PostgreSQL gets one parameter for each column and expands them into rows in step, so a statement has the same text for any
//! number of rows and is prepared once. Binding one parameter for each value costs client and server more than the insert
//! itself. A column as an array costs the server a fifth of what it costs as JSON, and one JSON document for all rows would cost
//! even more, because it looks up each member by name. A column of JSON is an array of texts, each of which the server parses once. SQLite cannot expand parameters, and prepares a statement at almost no
//! cost; it gets one parameter for each value.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::postgres_array::NotU8;
use sea_orm::sea_query::{DynIden, Expr, InsertStatement, IntoIden, Query, Values as Parameters};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, DbErr, Statement, Value};

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
    /// For PostgreSQL: one parameter for each column, which its expression expands into the values of all rows.
    ByColumn(Vec<Expr>, Vec<Value>),
    /// For SQLite: the values of each row.
    ByRow(Vec<Vec<Expr>>),
}

impl<'a, R> BulkInsert<'a, R> {
    /// A builder for a table on `backend`, without columns yet.
    pub(super) fn new(backend: DbBackend, rows: &'a [R]) -> Self {
        let values = match backend {
            DbBackend::Postgres => Values::ByColumn(Vec::new(), Vec::new()),
            _ => Values::ByRow(rows.iter().map(|_| Vec::new()).collect()),
        };
        Self { rows, columns: Vec::new(), values }
    }

    /// Adds a column that has the same value in every row.
    pub(super) fn same(self, column: impl IntoIden, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.add(column, |parameter| parameter, |_| value.clone(), |_| value.clone())
    }

    /// Adds a column of texts, UUIDs, numbers or times that are not null.
    pub(super) fn values<T>(self, column: impl IntoIden, get: impl Fn(&'a R) -> T) -> Self
    where
        T: Into<Value>,
        Vec<T>: Into<Value>,
    {
        let array = |rows: &'a [R]| rows.iter().map(&get).collect::<Vec<T>>().into();
        self.add(column, |parameter| format!("unnest({parameter})"), array, |row| get(row).into())
    }

    /// Adds a column of nullable texts; an empty text becomes null, because SeaORM's arrays hold no nulls.
    pub(super) fn texts(self, column: impl IntoIden, get: impl Fn(&'a R) -> Option<&'a str>) -> Self {
        let text = |row| get(row).unwrap_or_default().to_owned();
        let array = |rows: &'a [R]| rows.iter().map(text).collect::<Vec<String>>().into();
        let expand = |parameter| format!("nullif(unnest({parameter}), '')");
        self.add(column, expand, array, |row| get(row).filter(|text| !text.is_empty()).into())
    }

    /// Adds a column of nullable times after the year 1000.
    pub(super) fn times(self, column: impl IntoIden, get: impl Fn(&'a R) -> Option<DateTime<Utc>>) -> Self {
        let none = DateTime::UNIX_EPOCH - TimeDelta::days(365_000);
        let array = |rows: &'a [R]| rows.iter().map(|row| get(row).unwrap_or(none)).collect::<Vec<_>>().into();
        let expand = |parameter| format!("nullif(unnest({parameter}), TIMESTAMPTZ '{}')", none.to_rfc3339());
        self.add(column, expand, array, |row| get(row).into())
    }

    /// Adds a column of JSON, stored byte for byte as `get` returns it.
    pub(super) fn json(self, column: impl IntoIden, get: impl Fn(&'a R) -> String) -> Self {
        let array = |rows: &'a [R]| rows.iter().map(&get).collect::<Vec<String>>().into();
        self.add(column, |parameter| format!("unnest({parameter})::json"), array, |row| get(row).into())
    }

    /// The statements that insert all rows into `table`, each completed by `complete`, which must not bind values: none for no rows,
    /// one on PostgreSQL, and on SQLite as many as its limit of parameters requires.
    ///
    /// Never fails in practice: sea-query checks that there are as many values as columns.
    pub(super) fn into_statements(
        self,
        table: impl IntoIden,
        complete: impl Fn(&mut InsertStatement),
    ) -> Result<Vec<Statement>, DbErr> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        let mismatch = |error: sea_orm::sea_query::error::Error| DbErr::Custom(error.to_string());
        let max_rows = MAX_BINDS / self.columns.len().max(1);
        let mut insert = Query::insert().into_table(table.into_iden()).columns(self.columns).take();
        match self.values {
            Values::ByColumn(expressions, parameters) => {
                insert.select_from(Query::select().exprs(expressions).take()).map_err(mismatch)?;
                complete(&mut insert);
                // sea-query would copy each parameter, and all texts in it.
                let Statement { sql, values, db_backend } = DbBackend::Postgres.build(&insert);
                debug_assert!(
                    values.is_none_or(|values| values.0.is_empty()),
                    "they would take the parameters' numbers"
                );
                Ok(vec![Statement { sql, values: Some(Parameters(parameters)), db_backend }])
            }
            Values::ByRow(rows) => {
                let (mut statements, mut rows) = (Vec::new(), rows.into_iter());
                while rows.len() > 0 {
                    let mut insert = insert.clone();
                    for values in rows.by_ref().take(max_rows) {
                        insert.values(values).map_err(mismatch)?;
                    }
                    complete(&mut insert);
                    statements.push(DbBackend::Sqlite.build(&insert));
                }
                Ok(statements)
            }
        }
    }

    /// `expand` makes an expression of the name of the parameter, whose value is `all` of the rows.
    fn add(
        mut self,
        column: impl IntoIden,
        expand: impl FnOnce(String) -> String,
        all: impl FnOnce(&'a [R]) -> Value,
        one: impl Fn(&'a R) -> Value,
    ) -> Self {
        self.columns.push(column.into_iden());
        match &mut self.values {
            Values::ByColumn(expressions, parameters) => {
                parameters.push(all(self.rows));
                expressions.push(Expr::cust(expand(format!("${}", parameters.len()))));
            }
            Values::ByRow(rows) => {
                for (values, row) in rows.iter_mut().zip(self.rows) {
                    values.push(one(row).into());
                }
            }
        }
        self
    }
}
