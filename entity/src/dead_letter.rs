//! `dead_letters`: messages that could not be handled, kept for an operator.
#![expect(missing_docs, reason = "SeaORM's derive writes items without docs")]

use sea_orm::entity::prelude::*;

/// A row of `dead_letters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letters")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub message_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub source: String,
    pub body: Vec<u8>,
    #[sea_orm(column_type = "Text", nullable)]
    pub event_type: Option<String>,
    pub entity_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub failure_class: String,
    #[sea_orm(column_type = "Text")]
    pub failure: String,
    #[sea_orm(column_type = "Text")]
    pub fingerprint: String,
    pub attempts: i32,
    pub received_at: DateTimeUtc,
    pub first_died_at: DateTimeUtc,
    pub last_died_at: DateTimeUtc,
    pub deaths: i32,
    #[sea_orm(column_type = "Text")]
    pub state: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub outcome: Option<String>,
    pub replays: i32,
    pub replayed_at: Option<DateTimeUtc>,
    #[sea_orm(column_type = "Text", nullable)]
    pub replayed_by: Option<String>,
    pub resolved_at: Option<DateTimeUtc>,
    #[sea_orm(column_type = "Text", nullable)]
    pub note: Option<String>,
    /// The `message_id` property of the message, if it differs from `message_id` here.
    #[sea_orm(column_type = "Text", nullable)]
    pub wire_id: Option<String>,
    /// `received_at` in nanoseconds since 1970, which a replay sends as `x-received-at`.
    pub received_nanos: i64,
    /// The message that this one was edited from.
    #[sea_orm(column_type = "Text", nullable)]
    pub edited_from: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub traceparent: Option<String>,
    /// When the claim of a replay expires; null if the claim is permanent or there is none.
    pub claimed_until: Option<DateTimeUtc>,
}

/// None: the history is selected by `message_id`.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
