//! `reconcile_runs`: what each comparison with Lean's own list has found.
#![expect(missing_docs, reason = "SeaORM's derive writes items without docs")]

use sea_orm::entity::prelude::*;

/// A row of `reconcile_runs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reconcile_runs")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Which of Lean's lists was read: `events` or `entities`.
    #[sea_orm(column_type = "Text")]
    pub source: String,
    pub started_at: DateTimeUtc,
    /// Null while the run works, and after it was killed, until the next one.
    pub ended_at: Option<DateTimeUtc>,
    pub from: DateTimeUtc,
    pub to: DateTimeUtc,
    pub known: i64,
    pub sent: i64,
    pub dead: i64,
    pub ignored: i64,
    /// Every webhook that Lean lists up to this time is accounted for.
    pub complete_until: Option<DateTimeUtc>,
    #[sea_orm(column_type = "Text", nullable)]
    pub failure: Option<String>,
}

/// None: a run refers to no other table.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
