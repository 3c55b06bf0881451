//! `outbox_events`: written in the transaction of the rows that they are about, then claimed and published by the relay.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::outbox_event::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, OnConflict};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::bulk_statements::{BulkInsert, id_in};
use super::{Error, MAX_BINDS, Store, Transaction};
use crate::domain::event::Event;
use crate::domain::timestamp::Timestamp;

/// Which events were never deferred. It must be the text of the partial index, or PostgreSQL does not use that.
pub(super) const NEW: &str = "refusals < 1";

/// Which events to claim. New and deferred events are claimed apart, so that deferred ones hold up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// Events that were never deferred, appended at this time or later; at any time if it is `None`.
    New(Option<DateTime<Utc>>),
    /// Events of this type that were refused or not answered in time, and whose delay is over.
    Deferred(&'a str),
}

/// An event to append.
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// When the message that caused it was received.
    pub received_at: Timestamp,
    /// The W3C trace context of that message.
    pub traceparent: Option<String>,
}

/// An event that waits to be published.
#[derive(Clone, Debug, FromQueryResult)]
pub struct PendingEvent {
    /// The event's id.
    pub id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Its routing key.
    pub routing_key: String,
    /// The bank link that it is about.
    pub entity_id: Uuid,
    /// The whole event as JSON, byte for byte as it was appended.
    pub json: String,
    /// The W3C trace context of the message that caused it.
    pub traceparent: Option<String>,
    /// When that message was received.
    pub received_at: DateTime<Utc>,
    /// How often the event was deferred so far: refused, or not answered in time.
    pub refusals: i32,
    /// When it was appended.
    pub created_at: DateTime<Utc>,
}

/// Events that this relay claimed: on PostgreSQL no other relay can claim them meanwhile. Dropping it releases them.
pub struct Claim {
    /// The events, oldest first.
    pub events: Vec<PendingEvent>,
    /// Holds the row locks on PostgreSQL. None on SQLite, whose only writer must not wait for the network.
    locks: Option<Transaction>,
    store: Store,
}

/// Appends `events` to the outbox, to be published in this order.
///
/// # Errors
/// [`Error::Unavailable`] in an outage, [`Error::Blocked`] when PostgreSQL cannot run the statement.
pub async fn append(transaction: &Transaction, events: &[NewEvent]) -> Result<(), Error> {
    // A microsecond apart: that is the order in which they are claimed.
    let now = Timestamp::now().to_micros();
    let created_at = (0_i64..).map(|index| now + TimeDelta::microseconds(index));
    let rows: Vec<(&NewEvent, DateTime<Utc>)> = events.iter().zip(created_at).collect();
    let connection = &transaction.connection;
    let inserts = BulkInsert::new(connection.get_database_backend(), &rows)
        .values(Column::Id, |(new, _)| new.event.id)
        .values(Column::EventType, |(new, _)| new.event.event_type.to_owned())
        .values(Column::RoutingKey, |(new, _)| new.event.event_type.to_owned())
        .values(Column::EntityId, |(new, _)| new.event.entity_id)
        .json(Column::Payload, |(new, _)| &*new.event.json)
        .texts(Column::Traceparent, |(new, _)| new.traceparent.as_deref())
        .values(Column::ReceivedAt, |(new, _)| new.received_at.to_micros())
        .values(Column::CreatedAt, |(_, created_at)| *created_at)
        .into_statements(Entity)?;
    // A link is announced as new once. If its row was deleted while that event waits, the event is here already and takes the newer
    // values.
    let mut conflict = OnConflict::column(Column::Id);
    conflict.update_columns([Column::Payload, Column::Traceparent, Column::ReceivedAt]);
    for mut insert in inserts {
        connection.execute(insert.on_conflict(conflict.clone())).await?;
    }
    Ok(())
}

/// Claims up to `limit` events, oldest first, skipping those that other relays have claimed.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn claim(store: &Store, due: Due<'_>, limit: u64) -> Result<Claim, Error> {
    let generation = store.shared.current();
    let claim = async {
        let locks = if store.is_sqlite() { None } else { Some(store.begin().await?) };
        let events = match &locks {
            Some(transaction) => select_due(&transaction.connection, due, limit).await?,
            None => select_due(&store.connection(), due, limit).await?,
        };
        Ok(Claim { events, locks, store: store.same() })
    };
    store.guarded(&generation, claim).await
}

/// The first type after `last_type`, in alphabetical order, of which there are deferred events.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn next_deferred_type(store: &Store, last_type: &str) -> Result<Option<String>, Error> {
    let select = Entity::find()
        .select_only()
        .column(Column::EventType)
        .filter(Column::RetryAt.is_not_null())
        .filter(Column::EventType.gt(last_type))
        .order_by_asc(Column::EventType)
        .limit(1);
    store.read_quickly(async |connection| Ok(select.into_tuple().one(connection).await?)).await
}

impl Claim {
    /// Whether no other claim can contain these events: not on SQLite.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.locks.is_some()
    }

    /// Deletes the events in `published`, defers those in `deferred` by the delay beside each, and releases the rest.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`]. Nothing has changed then: what was published is
    /// published again under the same id.
    pub async fn finish(self, published: &[Uuid], deferred: &[(Uuid, Duration)]) -> Result<(), Error> {
        let Some(transaction) = self.locks else {
            return self
                .store
                .transaction(async |transaction| delete_and_defer(transaction, published, deferred).await)
                .await;
        };
        let generation = transaction.generation.clone();
        let finish = async {
            delete_and_defer(&transaction, published, deferred).await?;
            transaction.commit().await
        };
        self.store.guarded(&generation, finish).await
    }
}

async fn delete_and_defer(
    transaction: &Transaction,
    published: &[Uuid],
    deferred: &[(Uuid, Duration)],
) -> Result<(), Error> {
    let connection = &transaction.connection;
    for ids in published.chunks(MAX_BINDS) {
        let is_published = id_in(connection, Column::Id, ids.iter().copied());
        Entity::delete_many().filter(is_published).exec(connection).await?;
    }
    // Few delays occur: they depend on the number of refusals before.
    let mut by_delay = BTreeMap::<Duration, Vec<Uuid>>::new();
    for (id, delay) in deferred {
        by_delay.entry(*delay).or_default().push(*id);
    }
    for (delay, ids) in by_delay {
        Entity::update_many()
            .col_expr(Column::Refusals, Expr::col(Column::Refusals).add(1))
            .col_expr(Column::RetryAt, Expr::value(Utc::now() + delay))
            .filter(id_in(connection, Column::Id, ids))
            .exec(connection)
            .await?;
    }
    Ok(())
}

/// Appends an event, for a probe that rolls back.
pub(super) async fn probe(transaction: &Transaction) -> Result<(), Error> {
    let json = RawValue::NULL.to_owned();
    let event = Event { id: Uuid::new_v4(), event_type: "probe", entity_id: Uuid::nil(), json };
    append(transaction, &[NewEvent { event, received_at: Timestamp::EPOCH, traceparent: None }]).await
}

/// Deletes an event that does not exist, to probe the right to delete.
pub(super) async fn probe_delete(transaction: &Transaction) -> Result<(), Error> {
    Entity::delete_by_id(Uuid::new_v4()).exec(&transaction.connection).await?;
    Ok(())
}

async fn select_due(connection: &impl ConnectionTrait, due: Due<'_>, limit: u64) -> Result<Vec<PendingEvent>, Error> {
    let columns = [
        Column::Id,
        Column::EventType,
        Column::RoutingKey,
        Column::EntityId,
        Column::Traceparent,
        Column::ReceivedAt,
        Column::Refusals,
        Column::CreatedAt,
    ];
    let select =
        Entity::find().select_only().columns(columns).expr_as(Expr::col(Column::Payload).cast_as("text"), "json");
    let select = match due {
        Due::New(from) => {
            let is_recent = from.map(|from| Column::CreatedAt.gte(from));
            select
                .filter(Expr::cust(NEW))
                .filter(Condition::all().add_option(is_recent))
                .order_by_asc(Column::CreatedAt)
        }
        Due::Deferred(event_type) => select
            .filter(Column::EventType.eq(event_type))
            .filter(Column::RetryAt.lte(Utc::now()))
            .order_by_asc(Column::RetryAt),
    };
    // sea-query leaves the lock out on SQLite, which has no row locks.
    let select = select.limit(limit).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    Ok(select.into_model().all(connection).await?)
}
