//! `bank_links`: reads the rows that a batch is about, and writes those that no other transaction has written since.

use std::collections::{HashMap, HashSet};

use entity::bank_link::{Column, Entity};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, InsertStatement, OnConflict};
use sea_orm::{ConnectionTrait, EntityTrait, IdenStatic, Iterable, QueryFilter, QueryTrait};
use uuid::Uuid;

use super::bank_link_columns::{from_row, insert_statements};
use super::bulk_statements::id_in;
use super::{Error, MAX_BINDS, Store, Transaction, locks};
use crate::domain::bank_link::{BankLink, merge};
use crate::domain::field::Field;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{Kind, Webhook};

/// Reads the bank links of `entity_ids` within `transaction`. Takes no locks: [`upsert`] detects that a row has changed since.
///
/// # Errors
/// [`Error::InvalidRow`] when a row cannot be decoded; [`Error::Unavailable`] or [`Error::Blocked`] when the query fails.
pub async fn read_in_transaction(
    transaction: &Transaction,
    entity_ids: &[Uuid],
) -> Result<HashMap<Uuid, BankLink>, Error> {
    read_from(&transaction.connection, entity_ids).await
}

/// Reads the committed bank links of `entity_ids`, outside any transaction.
///
/// # Errors
/// As [`read_in_transaction`], or [`Error::TimedOut`].
pub async fn read_committed(store: &Store, entity_ids: &[Uuid]) -> Result<HashMap<Uuid, BankLink>, Error> {
    store.read(async |connection| read_from(connection, entity_ids).await).await
}

async fn read_from(connection: &impl ConnectionTrait, entity_ids: &[Uuid]) -> Result<HashMap<Uuid, BankLink>, Error> {
    let mut links = HashMap::with_capacity(entity_ids.len());
    for ids in entity_ids.chunks(MAX_BINDS) {
        let select = Entity::find().filter(id_in(connection, Column::EntityId, ids.iter().copied())).into_query();
        for row in connection.query_all(&select).await? {
            let link = from_row(&row)?;
            links.insert(link.entity_id, link);
        }
    }
    Ok(links)
}

/// Those of `entity_ids` whose rows another session has locked at this moment, so that they cannot be written. A row that is
/// being inserted is not among them, since no other session can see it. Always empty on SQLite, which has no row locks.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn locked(store: &Store, entity_ids: impl IntoIterator<Item = Uuid>) -> Result<HashSet<Uuid>, Error> {
    locks::locked::<Entity>(store, Column::EntityId, entity_ids).await
}

/// Writes each link whose stored row has the revision before it, or does not exist, and returns the ids of those written. If an
/// id is missing, another transaction wrote its row first: read it and merge again.
///
/// The links must be sorted by entity id, or two batches could wait for each other's rows.
///
/// # Errors
/// [`Error::InvalidRow`] or [`Error::RuleViolation`] when the database rejects a row; [`Error::Blocked`] when a row stays locked;
/// [`Error::Unavailable`] in an outage.
pub async fn upsert(transaction: &Transaction, links: &[&BankLink]) -> Result<Vec<Uuid>, Error> {
    debug_assert!(links.is_sorted_by_key(|link| link.entity_id), "unsorted batches deadlock");
    let connection = &transaction.connection;
    let now = Timestamp::now().to_micros();
    let mut written = Vec::with_capacity(links.len());
    let complete = |insert: &mut InsertStatement| {
        insert.on_conflict(update_if_unchanged()).returning_col(Column::EntityId);
    };
    for insert in insert_statements(connection.get_database_backend(), links, now, complete)? {
        for row in connection.query_all_raw(insert).await? {
            written.push(row.try_get("", Column::EntityId.as_str())?);
        }
    }
    Ok(written)
}

/// Updates the row, if its revision is the one that the new values are based on.
fn update_if_unchanged() -> OnConflict {
    let excluded = |column: Column| Expr::col((Alias::new("excluded"), column));
    let updated = Column::iter().filter(|column| !matches!(column, Column::EntityId | Column::CreatedAt));
    OnConflict::column(Column::EntityId)
        .update_columns(updated)
        .action_and_where(Expr::col((Entity, Column::Revision)).eq(excluded(Column::Revision).sub(Expr::cust("1"))))
        .to_owned()
}

/// Reads, inserts and updates a row as webhooks do, for a probe that rolls back. Its id is new each time, so that probes do not
/// wait for each other.
pub(super) async fn probe(transaction: &Transaction) -> Result<(), Error> {
    let (entity_id, timestamp) = (Uuid::new_v4(), Timestamp::now());
    let mut row = None;
    for (kind, field) in [(Kind::Created, Field::CustomerId), (Kind::Reconnected, Field::BankName)] {
        let webhook =
            Webhook { entity_id, timestamp, kind, carried: vec![(field, "probe".to_owned())], unreadable: Vec::new() };
        read_in_transaction(transaction, &[entity_id]).await?;
        row = merge(row.as_ref(), [&webhook]).after;
        upsert(transaction, &row.iter().collect::<Vec<_>>()).await?;
    }
    Ok(())
}
