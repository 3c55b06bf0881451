//! Fills a database as months of operation and one bad deploy leave it.

use anyhow::Result;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use entity::{dead_letter_history, reconcile_run};
use sea_orm::ActiveValue::NotSet;
use sea_orm::{ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, IntoActiveModel};
use uuid::Uuid;

use super::rows::{dead, death, ended, ended_history, link, run};
use crate::progress;

/// One bank link for so many letters, and one ended letter for so many.
const LETTERS_PER_LINK: u32 = 5;
const LETTERS_PER_ENDED: u32 = 10;
/// As many runs as a reconciler makes in a week.
const RUNS: u32 = 1_000;
/// Rows in one statement: SQLite binds 32,766 values at most.
const ROWS: usize = 1_000;

/// What there is to look at.
pub(super) struct Filled {
    /// The number of dead letters.
    pub(super) letters: u32,
    /// The last deaths of the dead letters.
    pub(super) oldest: DateTime<Utc>,
    pub(super) newest: DateTime<Utc>,
    /// A bank link that a dead letter is about, and its customer.
    pub(super) entity: Uuid,
    pub(super) customer: String,
}

/// Inserts `count` dead letters of four kinds, which have died within a day, and bank links, ended letters, history and reconcile runs.
pub(super) async fn fill(connection: &DatabaseConnection, count: u32) -> Result<Filled> {
    let _spinner = progress::spinner("filling the database");
    let newest = (Utc::now() - TimeDelta::minutes(1)).trunc_subsecs(6);
    let interval = TimeDelta::days(1) / i32::try_from(count)?;
    let oldest = newest - interval * i32::try_from(count)?;
    let links: Vec<_> = (0..count / LETTERS_PER_LINK).map(|number| link(number, newest)).collect();
    let about = links[links.len() / 2].clone();
    let mut entities: Vec<Uuid> = links.iter().map(|link| link.entity_id).collect();
    entities.resize_with(usize::try_from(count)?, Uuid::new_v4);
    let ended: Vec<_> = (0..count / LETTERS_PER_ENDED).map(|number| ended(number, oldest)).collect();
    let dead = (0..).zip(&entities).map(|(number, entity)| dead(number, *entity, newest - interval * number));
    // Rows are in the order in which they would be written.
    let dead: Vec<_> = dead.collect::<Vec<_>>().into_iter().rev().collect();
    let history: Vec<_> = (0..).zip(&ended).flat_map(ended_history).chain(dead.iter().map(death)).collect();
    insert(connection, set(links)).await?;
    insert(connection, set(ended)).await?;
    insert(connection, set(dead)).await?;
    insert(connection, set(history).map(|entry| dead_letter_history::ActiveModel { id: NotSet, ..entry })).await?;
    let runs = (0..RUNS).rev().map(run).collect();
    insert(connection, set(runs).map(|run| reconcile_run::ActiveModel { id: NotSet, ..run })).await?;
    if connection.get_database_backend() == DbBackend::Postgres {
        // As autovacuum does within minutes.
        connection.execute_unprepared("VACUUM ANALYZE").await?;
    }
    Ok(Filled { letters: count, oldest, newest, entity: about.entity_id, customer: about.customer_id })
}

async fn insert<A: ActiveModelTrait>(connection: &DatabaseConnection, rows: impl IntoIterator<Item = A>) -> Result<()> {
    let mut rows = rows.into_iter();
    loop {
        let next: Vec<A> = rows.by_ref().take(ROWS).collect();
        if next.is_empty() {
            return Ok(());
        }
        A::Entity::insert_many(next).exec_without_returning(connection).await?;
    }
}

/// Rows of which every column is inserted.
fn set<M: IntoActiveModel<A>, A: ActiveModelTrait>(rows: Vec<M>) -> impl Iterator<Item = A> {
    rows.into_iter().map(|row| row.into_active_model().reset_all())
}
