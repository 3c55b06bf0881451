//! `outbox_events`: written in the transaction of the rows that they are about, then published by the relay.

use chrono::{DateTime, TimeDelta, Utc};
use entity::outbox_event::{Column, Entity};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, EntityTrait};
use uuid::Uuid;

use super::bulk_statements::BulkInsert;
use super::{Error, Transaction};
use crate::domain::event::Event;
use crate::domain::timestamp::Timestamp;

/// An event to append.
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// When the message that caused it was received.
    pub received_at: Timestamp,
    /// The W3C trace context of that message.
    pub traceparent: Option<String>,
}

/// Appends `events` to the outbox, to be published in this order. Until `leased_until`, no relay can claim them; with `None`, any relay
/// can at once.
///
/// # Errors
/// [`Error::Unavailable`] in an outage, [`Error::Blocked`] when PostgreSQL cannot run the statement.
pub async fn append(
    transaction: &Transaction,
    events: &[NewEvent],
    leased_until: Option<DateTime<Utc>>,
) -> Result<(), Error> {
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
        .json(Column::Payload, |(new, _)| new.event.json.clone())
        .texts(Column::Traceparent, |(new, _)| new.traceparent.as_deref())
        .values(Column::ReceivedAt, |(new, _)| new.received_at.to_micros())
        .values(Column::CreatedAt, |(_, created_at)| *created_at)
        .same(Column::LeasedUntil, leased_until)
        .into_statements(Entity, |insert| {
            insert.on_conflict(take_newer_values());
        })?;
    for insert in inserts {
        connection.execute_raw(insert).await?;
    }
    Ok(())
}

/// A link is announced as new once. If its row was deleted while that event waits, the event is here already and takes the newer values.
/// It also takes the lease, so that a relay that publishes the older values does not delete it.
fn take_newer_values() -> OnConflict {
    let newer = [Column::Payload, Column::Traceparent, Column::ReceivedAt, Column::LeasedUntil];
    OnConflict::column(Column::Id).update_columns(newer).to_owned()
}

/// Appends an event, for a probe that rolls back.
pub(super) async fn probe(transaction: &Transaction) -> Result<(), Error> {
    let json = "null".to_owned();
    let event = Event { id: Uuid::new_v4(), event_type: "probe", entity_id: Uuid::nil(), json };
    append(transaction, &[NewEvent { event, received_at: Timestamp::EPOCH, traceparent: None }], None).await
}

/// Deletes an event that does not exist, to probe the right to delete.
pub(super) async fn probe_delete(transaction: &Transaction) -> Result<(), Error> {
    Entity::delete_by_id(Uuid::new_v4()).exec(&transaction.connection).await?;
    Ok(())
}
