//! `bank_links`: reads the rows that a batch speaks of, and writes them unless somebody else has meanwhile.

use std::collections::{HashMap, HashSet};

use entity::bank_link::{Column, Entity, Model};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, InsertStatement, LockBehavior, LockType, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IdenStatic, IntoActiveModel, Iterable,
    QueryFilter, QuerySelect, QueryTrait,
};
use uuid::Uuid;

use super::bank_link_row::{from_row, to_row};
use super::columns::Columns;
use super::id_in::id_in;
use super::{Error, MAX_BINDS, Store, Transaction};
use crate::domain::bank_link::{BankLink, merge};
use crate::domain::field::Field;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{Kind, Webhook};

/// The columns of the table: what one row binds.
const COLUMNS: usize = 21;

/// The bank links of those entities, as they are now.
///
/// # Errors
/// When the database is away.
pub async fn read(transaction: &Transaction, entity_ids: &[Uuid]) -> Result<HashMap<Uuid, BankLink>, Error> {
    read_with(&transaction.0, entity_ids).await
}

/// The same outside any transaction, for those who only look.
///
/// # Errors
/// When the database is away.
pub async fn look(store: &Store, entity_ids: &[Uuid]) -> Result<HashMap<Uuid, BankLink>, Error> {
    read_with(&store.connection, entity_ids).await
}

async fn read_with(connection: &impl ConnectionTrait, entity_ids: &[Uuid]) -> Result<HashMap<Uuid, BankLink>, Error> {
    let mut links = HashMap::with_capacity(entity_ids.len());
    for ids in entity_ids.chunks(MAX_BINDS) {
        let asked_for = id_in(connection, Column::EntityId, ids.iter().copied());
        for row in Entity::find().filter(asked_for).all(connection).await? {
            links.insert(row.entity_id, from_row(row)?);
        }
    }
    Ok(links)
}

/// Those of the entities whose rows somebody else has locked just now, so that they cannot be written. None on SQLite, which
/// knows no such locks.
///
/// # Errors
/// When the database is away.
pub async fn locked(store: &Store, entity_ids: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
    if store.is_sqlite() {
        return Ok(HashSet::new());
    }
    let transaction = store.begin().await?;
    let ids =
        || Entity::find().select_only().column(Column::EntityId).filter(Column::EntityId.eq_any(entity_ids.to_vec()));
    let all: Vec<Uuid> = ids().into_tuple().all(&transaction.0).await?;
    let free = ids().lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked);
    let free: HashSet<Uuid> = free.into_tuple().all(&transaction.0).await?.into_iter().collect();
    transaction.commit().await?;
    Ok(all.into_iter().filter(|id| !free.contains(id)).collect())
}

/// Writes each link whose row is still the revision before it, or is not there yet, and returns the ids of those written.
/// An id that is missing lost a race: its row has to be read and merged again.
///
/// The links must be sorted by entity id, so that two batches cannot wait for each other's rows.
///
/// # Errors
/// [`Error::InvalidRow`] when a row is at fault; else the database is away.
pub async fn upsert(transaction: &Transaction, links: &[&BankLink]) -> Result<Vec<Uuid>, Error> {
    debug_assert!(links.is_sorted_by_key(|link| link.entity_id), "unsorted batches deadlock");
    let now = Timestamp::now().to_micros();
    let rows: Vec<Model> = links.iter().map(|link| to_row(link, now)).collect();
    let inserts = if transaction.0.get_database_backend() == DbBackend::Postgres {
        vec![insert_columns(&rows)?]
    } else {
        rows.chunks(MAX_BINDS / COLUMNS).map(insert_values).collect()
    };
    let mut written = Vec::with_capacity(links.len());
    for mut insert in inserts {
        insert.on_conflict(unless_it_moved_on()).returning_col(Column::EntityId);
        for row in transaction.0.query_all(&insert).await? {
            written.push(row.try_get("", Column::EntityId.as_str())?);
        }
    }
    Ok(written)
}

fn insert_columns(rows: &[Model]) -> Result<InsertStatement, Error> {
    Columns::of(rows)
        .array(Column::EntityId, |row| row.entity_id)
        .texts(Column::CustomerId, |row| Some(&row.customer_id))
        .texts(Column::AppUserId, |row| row.app_user_id.as_deref())
        .texts(Column::BankIdentifier, |row| row.bank_identifier.as_deref())
        .texts(Column::BankName, |row| row.bank_name.as_deref())
        .texts(Column::BankLogo, |row| row.bank_logo.as_deref())
        .texts(Column::BankMainColor, |row| row.bank_main_color.as_deref())
        .texts(Column::BankBackgroundColor, |row| row.bank_background_color.as_deref())
        .texts(Column::BankSwiftCode, |row| row.bank_swift_code.as_deref())
        .texts(Column::BankAccountType, |row| row.bank_account_type.as_deref())
        .texts(Column::BankType, |row| row.bank_type.as_deref())
        .json(Column::Permissions, |row| &row.permissions)
        .times(Column::LinkedAt, |row| row.linked_at)
        .times(Column::ReconnectedAt, |row| row.reconnected_at)
        .array(Column::OccurredAt, |row| row.occurred_at)
        .array(Column::Version, |row| row.version)
        .array(Column::Revision, |row| row.revision)
        .texts(Column::LastEventId, |row| row.last_event_id.as_deref())
        .json(Column::Instants, |row| &row.instants)
        .array(Column::CreatedAt, |row| row.created_at)
        .array(Column::UpdatedAt, |row| row.updated_at)
        .insert_into(Entity)
}

fn insert_values(rows: &[Model]) -> InsertStatement {
    Entity::insert_many(rows.iter().cloned().map(|row| row.into_active_model().reset_all())).into_query()
}

/// Reads, inserts and updates a row such as webhooks make, for the probe to take back; of a new id, so that probes do not wait
/// for each other.
///
/// # Errors
/// When any of it cannot be done.
pub(super) async fn probe(transaction: &Transaction) -> Result<(), Error> {
    let (entity_id, timestamp) = (Uuid::new_v4(), Timestamp::now());
    let mut row = None;
    for (kind, field) in [(Kind::Created, Field::CustomerId), (Kind::Reconnected, Field::BankName)] {
        let webhook = Webhook { entity_id, timestamp, kind, carried: vec![(field, "probe".to_owned())] };
        read(transaction, &[entity_id]).await?;
        row = merge(row.as_ref(), [&webhook]).after;
        upsert(transaction, &row.iter().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

fn unless_it_moved_on() -> OnConflict {
    let excluded = |column: Column| Expr::col((Alias::new("excluded"), column));
    let kept = [Column::EntityId, Column::CreatedAt];
    OnConflict::column(Column::EntityId)
        .update_columns(Column::iter().filter(|column| !kept.iter().any(|kept| kept.as_str() == column.as_str())))
        .action_and_where(Expr::col((Entity, Column::Revision)).eq(excluded(Column::Revision).sub(1)))
        .to_owned()
}
