//! `outbox_events`: events that are committed but not published yet.
#![expect(missing_docs, reason = "SeaORM's derive writes items without docs")]

use sea_orm::entity::prelude::*;

/// A row of `outbox_events`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox_events")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub event_type: String,
    #[sea_orm(column_type = "Text")]
    pub routing_key: String,
    pub entity_id: Uuid,
    pub payload: Json,
    #[sea_orm(column_type = "Text", nullable)]
    pub traceparent: Option<String>,
    /// When the webhook that caused the event was received: the start of the measured latency.
    pub received_at: DateTimeUtc,
    pub created_at: DateTimeUtc,
    /// How often the event was deferred: refused by the broker, or not answered in time.
    pub refusals: i32,
    /// When it is published again; null if it was never deferred.
    pub retry_at: Option<DateTimeUtc>,
    /// Until when no relay may claim it: the process that wrote it publishes it. Null for events that any relay may claim.
    pub leased_until: Option<DateTimeUtc>,
}

/// None: an event refers to no other table.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
