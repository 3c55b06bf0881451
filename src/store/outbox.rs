//! `outbox_events`: written with the rows they speak of, claimed and published by the relay.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::outbox_event::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Order, Query, SimpleExpr};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryResult};
use uuid::Uuid;

use super::{Error, MOST_BINDS, Store, Transaction};
use crate::domain::event::Event;
use crate::domain::instant::Instant;

/// The columns that one appended event binds.
const COLUMNS: usize = 8;

/// Which events a claim is about. They are claimed apart, so that those put off hold up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Never put off.
    Fresh,
    /// Put off, and due again.
    PutOff,
}

/// An event with the message behind it.
pub struct Append {
    /// The event.
    pub event: Event,
    /// When that message was received.
    pub received_at: Instant,
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
    let backend = transaction.0.get_database_backend();
    // A microsecond apart, so that they are published in the order they were written.
    let mut created_at = Instant::now().to_micros();
    for events in events.chunks(MOST_BINDS / COLUMNS) {
        let mut insert = Query::insert();
        insert.into_table(Entity).columns([
            Column::Id,
            Column::EventType,
            Column::RoutingKey,
            Column::EntityId,
            Column::Payload,
            Column::Traceparent,
            Column::ReceivedAt,
            Column::CreatedAt,
        ]);
        for Append { event, received_at, traceparent } in events {
            insert.values_panic([
                event.id.into(),
                event.event_type.into(),
                event.event_type.into(),
                event.entity_id.into(),
                json(backend, &event.json),
                traceparent.clone().into(),
                received_at.to_micros().into(),
                created_at.into(),
            ]);
            created_at += TimeDelta::microseconds(1);
        }
        transaction.0.execute(&insert).await?;
    }
    Ok(())
}

/// Claims up to `limit` events, oldest first. On PostgreSQL other relays pass over them until the claim ends.
///
/// # Errors
/// When the database is away.
pub async fn claim(store: &Store, which: Which, limit: u64) -> Result<Claim, Error> {
    let store = store.clone();
    if store.is_sqlite() {
        return Ok(Claim { events: due(&store.connection, which, limit).await?, locks: None, store });
    }
    let locks = store.begin().await?;
    Ok(Claim { events: due(&locks.0, which, limit).await?, locks: Some(locks), store })
}

impl Claim {
    /// Deletes what was `published`, puts off the others named for as long as said, and gives the rest back.
    ///
    /// # Errors
    /// When the database is away: then what was published is published again, under the same ids.
    pub async fn finish(self, published: &[Uuid], put_off: &[(Uuid, Duration)]) -> Result<(), Error> {
        let transaction = match self.locks {
            Some(locks) => locks,
            None => self.store.begin().await?,
        };
        for ids in published.chunks(MOST_BINDS) {
            Entity::delete_many().filter(Column::Id.is_in(ids.iter().copied())).exec(&transaction.0).await?;
        }
        for (id, pause) in put_off {
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

/// Writes an event that the probe takes back.
///
/// # Errors
/// When it cannot be written.
pub(super) async fn probe(transaction: &Transaction) -> Result<(), Error> {
    let event = Event { id: Uuid::new_v4(), event_type: "probe", entity_id: Uuid::nil(), json: "{}".to_owned() };
    append(transaction, &[Append { event, received_at: Instant::EPOCH, traceparent: None }]).await
}

async fn due(connection: &impl ConnectionTrait, which: Which, limit: u64) -> Result<Vec<Pending>, Error> {
    let mut select = Query::select();
    let columns =
        [Column::Id, Column::EventType, Column::RoutingKey, Column::Traceparent, Column::ReceivedAt, Column::Refusals];
    select.columns(columns).expr_as(Expr::col(Column::Payload).cast_as("text"), "payload").from(Entity).limit(limit);
    match which {
        Which::Fresh => select.and_where(Column::RetryAt.is_null()).order_by(Column::CreatedAt, Order::Asc),
        Which::PutOff => select.and_where(Column::RetryAt.lte(Utc::now())).order_by(Column::RetryAt, Order::Asc),
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

/// JSON as text, to the letter: PostgreSQL wants to be told that the text is JSON.
fn json(backend: DbBackend, text: &str) -> SimpleExpr {
    let text = Expr::value(text);
    if backend == DbBackend::Postgres { text.cast_as("json") } else { text }
}
