//! `outbox_events`: written with the rows they speak of, claimed and published by the relay.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::outbox_event::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Order, Query, SelectStatement, SimpleExpr};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryResult};
use uuid::Uuid;

use super::{Error, MOST_BINDS, Store, Transaction};
use crate::domain::event::Event;
use crate::domain::instant::Instant;

/// The columns that one appended event binds.
const COLUMNS: usize = 8;
/// The longest pause before a refused event is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
    let now = Instant::now().to_micros();
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
                now.into(),
            ]);
        }
        transaction.0.execute(&insert).await?;
    }
    Ok(())
}

/// Claims up to `limit` events: those never refused first, then those whose pause is over. On PostgreSQL other relays pass
/// over them until the claim ends.
///
/// # Errors
/// When the database is away.
pub async fn claim(store: &Store, limit: u64) -> Result<Claim, Error> {
    let never_refused = |select: &mut SelectStatement| {
        select.and_where(Column::RetryAt.is_null()).order_by(Column::CreatedAt, Order::Asc);
    };
    let pause_over = |select: &mut SelectStatement| {
        select.and_where(Column::RetryAt.lte(Utc::now())).order_by(Column::RetryAt, Order::Asc);
    };
    if store.is_sqlite() {
        let mut events = due(&store.connection, limit, never_refused).await?;
        events.extend(due(&store.connection, limit - events.len() as u64, pause_over).await?);
        return Ok(Claim { events, locks: None, store: store.clone() });
    }
    let locks = store.begin().await?;
    let mut events = due(&locks.0, limit, never_refused).await?;
    events.extend(due(&locks.0, limit - events.len() as u64, pause_over).await?);
    Ok(Claim { events, locks: Some(locks), store: store.clone() })
}

impl Claim {
    /// Deletes what was `published`, puts off what was `refused`, and gives the rest back.
    ///
    /// # Errors
    /// When the database is away: then what was published is published again, under the same ids.
    pub async fn finish(self, published: &[Uuid], refused: &[Uuid]) -> Result<(), Error> {
        let transaction = match self.locks {
            Some(locks) => locks,
            None => self.store.begin().await?,
        };
        for ids in published.chunks(MOST_BINDS) {
            Entity::delete_many().filter(Column::Id.is_in(ids.iter().copied())).exec(&transaction.0).await?;
        }
        for event in self.events.iter().filter(|event| refused.contains(&event.id)) {
            let refusals = event.refusals.saturating_add(1);
            Entity::update_many()
                .col_expr(Column::Refusals, Expr::value(refusals))
                .col_expr(Column::RetryAt, Expr::value(Utc::now() + pause(refusals)))
                .filter(Column::Id.eq(event.id))
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
    let event = Event { id: Uuid::nil(), event_type: "probe", entity_id: Uuid::nil(), json: "{}".to_owned() };
    append(transaction, &[Append { event, received_at: Instant::EPOCH, traceparent: None }]).await
}

async fn due(
    connection: &impl ConnectionTrait,
    limit: u64,
    which: impl FnOnce(&mut SelectStatement),
) -> Result<Vec<Pending>, Error> {
    let mut select = Query::select();
    let columns =
        [Column::Id, Column::EventType, Column::RoutingKey, Column::Traceparent, Column::ReceivedAt, Column::Refusals];
    select.columns(columns).expr_as(Expr::col(Column::Payload).cast_as("text"), "payload").from(Entity).limit(limit);
    which(&mut select);
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

/// 1 s, 2 s, 4 s … up to a minute.
fn pause(refusals: i32) -> Duration {
    let doublings = u32::try_from(refusals.clamp(1, 10) - 1).unwrap_or_default();
    Duration::from_secs(1 << doublings).min(LONGEST_PAUSE)
}

/// JSON as text, to the letter: PostgreSQL wants to be told that the text is JSON.
fn json(backend: DbBackend, text: &str) -> SimpleExpr {
    let text = Expr::value(text);
    if backend == DbBackend::Postgres { text.cast_as("json") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_event_waits_longer_each_time_but_never_more_than_a_minute() {
        let pauses: Vec<u64> = [1, 2, 3, 6, 7, 1_000].into_iter().map(|refusals| pause(refusals).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60]);
    }
}
