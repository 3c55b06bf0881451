//! `replays`: replays of dead letters, each with the letters that were selected when it was made.
#![expect(missing_docs, reason = "SeaORM's derive writes items without docs")]

use sea_orm::entity::prelude::*;

/// A row of `replays`.
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "replays")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub created_at: DateTimeUtc,
    #[sea_orm(column_type = "Text")]
    pub created_by: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub reason: Option<String>,
    /// How the letters were selected, as a JSON object.
    #[sea_orm(column_type = "Text")]
    pub selection: String,
    /// The number of rows in `replay_letters`.
    pub letters: i32,
    #[sea_orm(column_type = "Text")]
    pub state: String,
    /// Maximum letters per second.
    pub rate: Option<i32>,
    pub canary: Option<i32>,
    /// In percent.
    pub stop_on_failure: Option<f64>,
    pub replayed: i32,
    pub skipped: i32,
    pub applied: i32,
    pub stale: i32,
    pub ignored: i32,
    pub dead: i32,
    /// Why it stopped.
    #[sea_orm(column_type = "Text", nullable)]
    pub failure: Option<String>,
    /// When the last of the canaries was resolved, apart from those whose failure is ignored.
    pub canary_ended_at: Option<DateTimeUtc>,
    /// The failed canaries that do not keep the others back any more, because the replay was resumed after them.
    pub canaries_ignored: i32,
    /// Who resumed it then.
    #[sea_orm(column_type = "Text", nullable)]
    pub canaries_ignored_by: Option<String>,
    /// The letters that were resolved when it was last resumed after a stop: they do not count for `stop_on_failure` any more.
    pub resolved_before: i32,
    /// Likewise the letters that were dead again.
    pub dead_before: i32,
    /// When its state changed last.
    pub changed_at: DateTimeUtc,
    /// Who paused, resumed or cancelled it last.
    #[sea_orm(column_type = "Text", nullable)]
    pub changed_by: Option<String>,
    pub ended_at: Option<DateTimeUtc>,
}

/// None: letters are selected by `replay_id`.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
