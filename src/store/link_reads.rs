//! Reads bank links for those who show them: one by its entity, or all of a customer.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::bank_link::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait};
use uuid::Uuid;

use super::bank_link_columns::from_row;
use super::bulk_statements::id_in;
use super::{Error, MAX_BINDS, Store};
use crate::domain::bank_link::BankLink;
use crate::domain::field::Field;

/// Versions are added up modulo this prime number.
const VERSION_MODULUS: i64 = 2_147_483_647;

/// A bank link as it is stored.
#[derive(Clone, Debug)]
pub struct StoredLink {
    /// The bank link.
    pub link: BankLink,
    /// When its row was inserted.
    pub created_at: DateTime<Utc>,
    /// When its row was last written.
    pub updated_at: DateTime<Utc>,
}

/// The bank link of `entity_id`, if there is one.
///
/// # Errors
/// [`Error::InvalidRow`] when the row cannot be decoded; [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the
/// query fails.
pub async fn of_entity(store: &Store, entity_id: Uuid) -> Result<Option<StoredLink>, Error> {
    Ok(select(store, Column::EntityId.eq(entity_id)).await?.pop())
}

/// The bank links of each of `customers` that has any, by when they were linked, oldest first; those that no `entity.created` has
/// been about are last.
///
/// # Errors
/// As [`of_entity`].
pub async fn of_customers(store: &Store, customers: &[String]) -> Result<HashMap<String, Vec<StoredLink>>, Error> {
    let mut links: HashMap<String, Vec<StoredLink>> = HashMap::new();
    for customers in customers.chunks(MAX_BINDS) {
        let is_asked_for = id_in(&store.connection(), Column::CustomerId, customers.iter().cloned());
        for stored in select(store, is_asked_for).await? {
            let customer = stored.link.get(Field::CustomerId).unwrap_or_default().to_owned();
            links.entry(customer).or_default().push(stored);
        }
    }
    for links in links.values_mut() {
        links.sort_by_key(|stored| (stored.link.linked_at.is_none(), stored.link.linked_at, stored.link.entity_id));
    }
    Ok(links)
}

async fn select(store: &Store, filter: Expr) -> Result<Vec<StoredLink>, Error> {
    let select = Entity::find().filter(filter).into_query();
    let rows = store.read(async |connection| Ok(connection.query_all(&select).await?)).await?;
    let links = rows.iter().map(|row| {
        let (created_at, updated_at) = (row.try_get("", "created_at")?, row.try_get("", "updated_at")?);
        Ok(StoredLink { link: from_row(row)?, created_at, updated_at })
    });
    links.collect()
}

/// A number that changes with each change of a customer's bank links: sums over their revisions and their versions.
pub type LinksSum = (i64, i64);

/// For each of `customers` that has bank links, their sum.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn sums(store: &Store, customers: &[String]) -> Result<HashMap<String, LinksSum>, Error> {
    let mut sums = HashMap::new();
    for customers in customers.chunks(MAX_BINDS) {
        let read = store.read(async |connection| {
            // The sum of a bigint is a numeric on PostgreSQL, and that of whole versions does not fit.
            let sum = |expression: Expr| expression.sum().cast_as("bigint");
            let select = Entity::find()
                .select_only()
                .column(Column::CustomerId)
                .column_as(sum(Expr::col(Column::Revision)), "revisions")
                .column_as(sum(Expr::col(Column::Version).modulo(VERSION_MODULUS)), "versions")
                .filter(id_in(connection, Column::CustomerId, customers.iter().cloned()))
                .group_by(Column::CustomerId);
            Ok(select.into_tuple().all(connection).await?)
        });
        let read: Vec<(String, i64, i64)> = read.await?;
        sums.extend(read.into_iter().map(|(customer, revisions, versions)| (customer, (revisions, versions))));
    }
    Ok(sums)
}
