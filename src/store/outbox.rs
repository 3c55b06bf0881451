//! `outbox_events`: written with the rows they speak of, claimed and published by the relay.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::outbox_event::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, InsertStatement, LockBehavior, LockType, Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryResult};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::columns::Columns;
use super::id_in::id_in;
use super::{Error, MAX_BINDS, Store, Transaction};
use crate::domain::event::Event;
use crate::domain::timestamp::Timestamp;

/// The columns that are written when an event is appended.
const COLUMNS: [Column; 8] = [
    Column::Id,
    Column::EventType,
    Column::RoutingKey,
    Column::EntityId,
    Column::Payload,
    Column::Traceparent,
    Column::ReceivedAt,
    Column::CreatedAt,
];

/// Queue events a claim is about. They are claimed apart, so that those put off hold up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Never put off.
    New,
    /// Put off, and due again.
    Deferred,
}

/// An event with the message behind it.
pub struct Append {
    /// The event.
    pub event: Event,
    /// When that message was received.
    pub received_at: Timestamp,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
}

/// An event that waits to be published.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Its routing key.
    pub routing_key: String,
    /// The whole event as JSON, to the letter as it was written.
    pub json: String,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// When the webhook behind it was received.
    pub received_at: DateTime<Utc>,
    /// How often the broker has refused it so far.
    pub refusals: i32,
}

/// Events that this relay, and on PostgreSQL no other, has in hand. Dropping it gives them back.
pub struct Claim {
    /// The events, oldest first.
    pub events: Vec<Pending>,
    /// The row locks; SQLite has none, and may not keep its only writer's place while the network is waited for.
    locks: Option<Transaction>,
    store: Store,
}

/// Adds `events` to the outbox.
///
/// # Errors
/// When the database is away.
pub async fn append(transaction: &Transaction, events: &[Append]) -> Result<(), Error> {
    // A microsecond apart, so that they are published in the order they were written.
    let now = Timestamp::now().to_micros();
    let created_at = (0_i64..).map(|place| now + TimeDelta::microseconds(place));
    let rows: Vec<Row<'_>> = events.iter().zip(created_at).map(|(event, at)| Row::new(event, at)).collect();
    if transaction.0.get_database_backend() == DbBackend::Postgres {
        transaction.0.execute(&insert_columns(&rows)?).await?;
        return Ok(());
    }
    for rows in rows.chunks(MAX_BINDS / COLUMNS.len()) {
        transaction.0.execute(&insert_values(rows)).await?;
    }
    Ok(())
}

/// What is written of an event.
struct Row<'a> {
    id: Uuid,
    event_type: &'static str,
    routing_key: &'static str,
    entity_id: Uuid,
    payload: &'a RawValue,
    traceparent: Option<&'a str>,
    received_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

impl<'a> Row<'a> {
    fn new(append: &'a Append, created_at: DateTime<Utc>) -> Self {
        let Append { event, received_at, traceparent } = append;
        Self {
            id: event.id,
            event_type: event.event_type,
            routing_key: event.event_type,
            entity_id: event.entity_id,
            payload: &event.json,
            traceparent: traceparent.as_deref(),
            received_at: received_at.to_micros(),
            created_at,
        }
    }
}

fn insert_columns(rows: &[Row<'_>]) -> Result<InsertStatement, Error> {
    Columns::of(rows)
        .array(Column::Id, |row| row.id)
        .texts(Column::EventType, |row| Some(row.event_type))
        .texts(Column::RoutingKey, |row| Some(row.routing_key))
        .array(Column::EntityId, |row| row.entity_id)
        .json(Column::Payload, |row| row.payload)
        .texts(Column::Traceparent, |row| row.traceparent)
        .array(Column::ReceivedAt, |row| row.received_at)
        .array(Column::CreatedAt, |row| row.created_at)
        .insert_into(Entity)
}

fn insert_values(rows: &[Row<'_>]) -> InsertStatement {
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(COLUMNS);
    for row in rows {
        // In the order of `COLUMNS`.
        insert.values_panic([
            row.id.into(),
            row.event_type.into(),
            row.routing_key.into(),
            row.entity_id.into(),
            row.payload.get().into(),
            row.traceparent.into(),
            row.received_at.into(),
            row.created_at.into(),
        ]);
    }
    insert
}

/// Claims up to `limit` events, oldest first. On PostgreSQL other relays pass over them until the claim ends.
///
/// # Errors
/// When the database is away.
pub async fn claim(store: &Store, queue: Queue, limit: u64) -> Result<Claim, Error> {
    let store = store.clone();
    if store.is_sqlite() {
        return Ok(Claim { events: due(&store.connection, queue, limit).await?, locks: None, store });
    }
    let locks = store.begin().await?;
    Ok(Claim { events: due(&locks.0, queue, limit).await?, locks: Some(locks), store })
}

impl Claim {
    /// Deletes what was `published`, puts off the others named for as long as said, and gives the rest back.
    ///
    /// # Errors
    /// When the database is away: then what was published is published again, under the same ids.
    pub async fn finish(self, published: &[Uuid], deferred: &[(Uuid, Duration)]) -> Result<(), Error> {
        let transaction = match self.locks {
            Some(locks) => locks,
            None => self.store.begin().await?,
        };
        for ids in published.chunks(MAX_BINDS) {
            let is_published = id_in(&transaction.0, Column::Id, ids.iter().copied());
            Entity::delete_many().filter(is_published).exec(&transaction.0).await?;
        }
        for (id, pause) in deferred {
            Entity::update_many()
                .col_expr(Column::Refusals, Expr::col(Column::Refusals).add(1))
                .col_expr(Column::RetryAt, Expr::value(Utc::now() + *pause))
                .filter(Column::Id.eq(*id))
                .exec(&transaction.0)
                .await?;
        }
        transaction.commit().await
    }
}

/// How many events wait, and since when the oldest.
///
/// # Errors
/// When the database is away.
pub async fn backlog(store: &Store) -> Result<(u64, Option<DateTime<Utc>>), Error> {
    let select = Query::select()
        .expr_as(Expr::col(Column::Id).count(), "pending")
        .expr_as(Expr::col(Column::CreatedAt).min(), "oldest")
        .from(Entity)
        .take();
    let Some(row) = store.connection.query_one(&select).await? else { return Ok((0, None)) };
    let pending: i64 = row.try_get("", "pending")?;
    Ok((pending.unsigned_abs(), row.try_get("", "oldest")?))
}

/// Writes an event, for the probe to take back.
pub(super) async fn probe(transaction: &Transaction) -> Result<(), Error> {
    let json = RawValue::from_string("{}".to_owned()).map_err(|error| Error::InvalidRow(error.to_string()))?;
    let event = Event { id: Uuid::new_v4(), event_type: "probe", entity_id: Uuid::nil(), json };
    append(transaction, &[Append { event, received_at: Timestamp::EPOCH, traceparent: None }]).await
}

/// Deletes an event that is not there, for a probe of what a relay needs.
pub(super) async fn probe_deleting(transaction: &Transaction) -> Result<(), Error> {
    Entity::delete_by_id(Uuid::new_v4()).exec(&transaction.0).await?;
    Ok(())
}

async fn due(connection: &impl ConnectionTrait, queue: Queue, limit: u64) -> Result<Vec<Pending>, Error> {
    let mut select = Query::select();
    let columns =
        [Column::Id, Column::EventType, Column::RoutingKey, Column::Traceparent, Column::ReceivedAt, Column::Refusals];
    select.columns(columns).expr_as(Expr::col(Column::Payload).cast_as("text"), "payload").from(Entity).limit(limit);
    match queue {
        // Word for word the condition of the index.
        Queue::New => select.and_where(Expr::cust("refusals < 1")).order_by(Column::CreatedAt, Order::Asc),
        Queue::Deferred => select.and_where(Column::RetryAt.lte(Utc::now())).order_by(Column::RetryAt, Order::Asc),
    };
    // Left out on SQLite, which knows no row locks.
    select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    connection.query_all(&select).await?.iter().map(pending).collect()
}

fn pending(row: &QueryResult) -> Result<Pending, Error> {
    Ok(Pending {
        id: row.try_get("", "id")?,
        event_type: row.try_get("", "event_type")?,
        routing_key: row.try_get("", "routing_key")?,
        json: row.try_get("", "payload")?,
        traceparent: row.try_get("", "traceparent")?,
        received_at: row.try_get("", "received_at")?,
        refusals: row.try_get("", "refusals")?,
    })
}
