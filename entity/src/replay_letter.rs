//! `replay_letters`: the letters of a replay, as they were when it was made, and what became of them.
#![expect(missing_docs, reason = "SeaORM's derive writes items without docs")]

use sea_orm::entity::prelude::*;

/// A row of `replay_letters`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replay_letters")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub replay_id: i64,
    /// From 0: the order in which letters are replayed.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i32,
    pub message_id: Uuid,
    /// The letter's `replays` when it was selected.
    pub replays: i32,
    /// The letter's `deaths` when it was selected.
    pub deaths: i32,
    pub body_bytes: i32,
    /// The letter's `replays` since this replay has claimed it.
    pub claimed: Option<i32>,
    #[sea_orm(column_type = "Text", nullable)]
    pub outcome: Option<String>,
}

/// None: the letter is selected by `message_id`.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
