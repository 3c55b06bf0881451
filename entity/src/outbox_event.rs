//! `outbox_events`: events that are committed and not published yet.
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
    /// When the webhook behind it was received: where its latency is counted from.
    pub received_at: DateTimeUtc,
    pub created_at: DateTimeUtc,
    /// How often the broker has refused it.
    pub refusals: i32,
    /// When it is tried again; null while it was never refused.
    pub retry_at: Option<DateTimeUtc>,
}

/// None: an event stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
