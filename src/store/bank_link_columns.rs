//! The columns of `bank_links`: how a bank link becomes a row, and how a row becomes a bank link.
//!
//! A new text column is one line in the table of [`Field`], a new timestamp of the bank link one line in [`TIMESTAMPS`]. Besides,
//! the entity crate lists the column and a migration creates it; a test below fails if the entity has one that is not written.
//!
//! The column `instants` holds the timestamp of each value where it differs from the row's `version`: none
//! after the first webhook.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use entity::bank_link::{Column, Entity};
use sea_orm::sea_query::InsertStatement;
use sea_orm::{DbBackend, QueryResult, Statement};
use serde_json::Value;

use super::Error;
use super::bulk_statements::BulkInsert;
use crate::domain::bank_link::{BankLink, FieldValue};
use crate::domain::field::Field;
use crate::domain::timestamp::Timestamp;

/// A nullable timestamp column. Its value to the nanosecond is in `instants`, or is `version`.
struct TimestampColumn {
    name: &'static str,
    get: fn(&BankLink) -> Option<Timestamp>,
    set: fn(&mut BankLink, Option<Timestamp>),
}

const TIMESTAMPS: [TimestampColumn; 2] = [
    TimestampColumn { name: "linked_at", get: |link| link.linked_at, set: |link, at| link.linked_at = at },
    TimestampColumn {
        name: "reconnected_at",
        get: |link| link.reconnected_at,
        set: |link, at| link.reconnected_at = at,
    },
];

/// Statements that insert `links`, written at `now`, each completed by `complete`, which must not bind values.
pub(super) fn insert_statements(
    backend: DbBackend,
    links: &[&BankLink],
    now: DateTime<Utc>,
    complete: impl Fn(&mut InsertStatement),
) -> Result<Vec<Statement>, Error> {
    let mut insert = BulkInsert::new(backend, links)
        .values(Column::EntityId, |link| link.entity_id)
        .values(Column::OccurredAt, |link| link.version.to_micros())
        .values(Column::Version, |link| link.version.nanos())
        .values(Column::Revision, |link| link.revision)
        .json(Column::Instants, |link| instants_column(link))
        .same(Column::CreatedAt, now)
        .same(Column::UpdatedAt, now);
    for field in Field::ALL {
        insert = match field {
            Field::Permissions => insert.json(field.name(), |link| permissions(link)),
            _ => insert.texts(field.name(), move |link| link.get(field)),
        };
    }
    for column in &TIMESTAMPS {
        insert = insert.times(column.name, |link| (column.get)(link).map(Timestamp::to_micros));
    }
    Ok(insert.into_statements(Entity, complete)?)
}

/// The bank link in `row`; [`Error::InvalidRow`] when another program wrote a row that cannot be decoded.
pub(super) fn from_row(row: &QueryResult) -> Result<BankLink, Error> {
    let version = Timestamp::from_nanos(row.try_get("", "version")?).ok_or_else(Error::unreadable_row)?;
    let instants: Value = row.try_get("", "instants")?;
    let instants = instants.as_object().ok_or_else(Error::unreadable_row)?;
    let timestamp_of = |name: &str| match instants.get(name) {
        None => Ok(version),
        Some(nanos) => nanos.as_i64().and_then(Timestamp::from_nanos).ok_or_else(Error::unreadable_row),
    };
    let mut link = BankLink::empty(row.try_get("", "entity_id")?, version);
    link.revision = row.try_get("", "revision")?;
    for field in Field::ALL {
        let value = match field {
            Field::Permissions => match row.try_get("", field.name())? {
                Value::Null => None,
                names => Some(names.to_string()),
            },
            _ => row.try_get("", field.name())?,
        };
        if let Some(value) = value {
            link.fields[field as usize] = Some(FieldValue { timestamp: timestamp_of(field.name())?, value });
        }
    }
    for column in &TIMESTAMPS {
        if row.try_get::<Option<DateTime<Utc>>>("", column.name)?.is_some() {
            (column.set)(&mut link, Some(timestamp_of(column.name)?));
        }
    }
    Ok(link)
}

/// JSON `null` while no webhook has carried permissions.
fn permissions(link: &BankLink) -> String {
    link.get(Field::Permissions).unwrap_or("null").to_owned()
}

/// What the column `instants` holds, in nanoseconds since 1970.
fn instants_column(link: &BankLink) -> String {
    let fields = Field::ALL.into_iter().zip(&link.fields);
    let fields = fields.map(|(field, held)| (field.name(), held.as_ref().map(|held| held.timestamp)));
    let timestamps = fields.chain(TIMESTAMPS.iter().map(|column| (column.name, (column.get)(link))));
    let differing =
        timestamps.filter_map(|(name, timestamp)| Some((name, timestamp.filter(|at| *at != link.version)?)));
    let nanos: BTreeMap<&str, i64> = differing.map(|(name, timestamp)| (name, timestamp.nanos())).collect();
    serde_json::to_string(&nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_orm::{IdenStatic, Iterable};

    #[test]
    fn every_column_of_the_entity_is_inserted_once_whatever_the_database() {
        let link = BankLink::empty(uuid::Uuid::nil(), Timestamp::EPOCH);
        for backend in [DbBackend::Postgres, DbBackend::Sqlite] {
            let statements = insert_statements(backend, &[&link], Utc::now(), |_| ()).unwrap();
            let (columns, _) = statements[0].sql.split_once(')').unwrap();
            for column in Column::iter() {
                assert_eq!(columns.matches(&format!("\"{}\"", column.as_str())).count(), 1, "{columns}");
            }
            assert_eq!(columns.matches(',').count() + 1, Column::iter().count(), "{columns}");
        }
    }
}
