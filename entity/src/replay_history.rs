//! `replay_history`: what operators did to a replay, when, and who did.
#![expect(missing_docs, reason = "SeaORM's derive writes items without docs")]

use sea_orm::entity::prelude::*;

/// A row of `replay_history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replay_history")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub replay_id: i64,
    pub at: DateTimeUtc,
    #[sea_orm(column_type = "Text")]
    pub by: String,
    #[sea_orm(column_type = "Text")]
    pub action: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub detail: Option<String>,
}

/// None: the replay is selected by `replay_id`.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
