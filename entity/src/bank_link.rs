//! `bank_links`: one row for each link of a customer to a bank.
#![expect(missing_docs, reason = "SeaORM's derive writes items without docs")]

use sea_orm::entity::prelude::*;

/// A row of `bank_links`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "bank_links")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub entity_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub customer_id: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub app_user_id: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub bank_identifier: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub bank_name: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub bank_logo: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub bank_main_color: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub bank_background_color: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub bank_swift_code: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub bank_account_type: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub bank_type: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub end_user_id: Option<String>,
    /// JSON `null` while no webhook has carried permissions.
    pub permissions: Json,
    pub linked_at: Option<DateTimeUtc>,
    pub reconnected_at: Option<DateTimeUtc>,
    pub occurred_at: DateTimeUtc,
    pub version: i64,
    pub revision: i64,
    #[sea_orm(column_type = "Text", nullable)]
    pub last_event_id: Option<String>,
    /// The timestamps of values, by column, where they differ from `version`, in nanoseconds since 1970.
    pub instants: Json,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

/// None: a bank link refers to no other table.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
