//! Many rows in one parameter for each column, for PostgreSQL, which makes rows of them itself.
//!
//! Binding each value of a few hundred rows means thousands of parameters: to write down, to bind and to read again, which
//! costs the two of us more than the rows do. One parameter for all of it, rows as JSON, costs the server half as much again:
//! it looks up each member of each row by its name. SQLite has no such way in, and no wire to save on.

use chrono::{DateTime, Utc};
use sea_orm::Value;
use sea_orm::sea_query::{Expr, ExprTrait, Func, InsertStatement, IntoIden, Query, SelectStatement};
use serde::Serialize;

use super::Error;

/// What is to be inserted of some rows, column by column. The server takes every column apart in step with the others.
pub(super) struct Columns<'a, R, C> {
    rows: &'a [R],
    names: Vec<C>,
    values: SelectStatement,
}

impl<'a, R, C: IntoIden + Copy> Columns<'a, R, C> {
    pub(super) fn of(rows: &'a [R]) -> Self {
        Self { rows, names: Vec::new(), values: Query::select() }
    }

    /// A column of UUIDs, numbers or times, none of them NULL.
    pub(super) fn array<T>(self, name: C, of: impl Fn(&'a R) -> T) -> Self
    where
        Vec<T>: Into<Value>,
    {
        let values: Vec<T> = self.rows.iter().map(of).collect();
        self.with(name, Func::cust("unnest").arg(Expr::value(values)))
    }

    /// A column of texts, or NULL, which an array could not hold here.
    pub(super) fn texts(self, name: C, of: impl Fn(&'a R) -> Option<&'a str>) -> Self {
        let values = self.as_json(of);
        self.with(name, Func::cust("json_array_elements_text").arg(values))
    }

    /// A column of times, or NULL.
    pub(super) fn times(self, name: C, of: impl Fn(&'a R) -> Option<DateTime<Utc>>) -> Self {
        let values = self.as_json(of);
        self.with(name, Func::cust("json_array_elements_text").arg(values).cast_as("timestamptz"))
    }

    /// A column of JSON, to the letter.
    pub(super) fn json<T: Serialize>(self, name: C, of: impl Fn(&'a R) -> T) -> Self {
        let values = self.as_json(of);
        self.with(name, Func::cust("json_array_elements").arg(values))
    }

    /// The statement that inserts them into `table`.
    ///
    /// # Errors
    /// Never, unless a column was named twice.
    pub(super) fn insert_into(self, table: impl IntoIden + Copy) -> Result<InsertStatement, Error> {
        let mut insert = Query::insert();
        insert.into_table(table.into_iden()).columns(self.names);
        insert.select_from(self.values).map_err(|error| Error::InvalidRow(error.to_string()))?;
        Ok(insert)
    }

    fn as_json<T: Serialize>(&self, of: impl Fn(&'a R) -> T) -> Expr {
        // All that is written here has a form in JSON; an empty text would be refused as none.
        let values = serde_json::to_string(&self.rows.iter().map(of).collect::<Vec<_>>()).unwrap_or_default();
        Expr::value(values).cast_as("json")
    }

    fn with(mut self, name: C, values: impl Into<Expr>) -> Self {
        self.names.push(name);
        self.values.expr(values.into());
        self
    }
}
