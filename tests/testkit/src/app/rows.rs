//! The rows of an app's database.

use entity::{bank_link, dead_letter, dead_letter_history, outbox_event, reconcile_run};
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryOrder};
use uuid::Uuid;

use super::{On, TestApp};
use crate::waiting::{eventually, until};

impl TestApp {
    /// The URL of its database.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.database.url.clone()
    }

    /// All bank links.
    pub async fn bank_links(&self) -> Vec<bank_link::Model> {
        let links = bank_link::Entity::find().order_by_asc(bank_link::Column::EntityId);
        links.all(&self.store.connection()).await.expect("bank links")
    }

    /// The bank link of an entity.
    pub async fn bank_link(&self, id: Uuid) -> Option<bank_link::Model> {
        bank_link::Entity::find_by_id(id).one(&self.store.connection()).await.expect("a bank link")
    }

    pub(super) async fn delete_bank_link(&self, id: Uuid) {
        bank_link::Entity::delete_by_id(id).exec(&self.store.connection()).await.expect("a deleted row");
    }

    /// Waits until there are that many bank links.
    pub async fn until_links(&self, links: usize) {
        until(&format!("{links} bank links"), async || self.bank_links().await.len() == links).await;
    }

    /// Waits for the bank link of an entity.
    pub async fn until_link(&self, id: Uuid) -> bank_link::Model {
        eventually("the bank link", async || self.bank_link(id).await).await
    }

    /// Waits until each of those bank links has been reconnected.
    pub async fn until_reconnected(&self, entities: &[Uuid]) {
        for entity in entities {
            eventually("a reconnected bank link", async || self.bank_link(*entity).await?.reconnected_at).await;
        }
    }

    /// All dead letters, the oldest death first.
    pub async fn dead_letters(&self) -> Vec<dead_letter::Model> {
        let letters = dead_letter::Entity::find().order_by_asc(dead_letter::Column::LastDiedAt);
        letters.all(&self.store.connection()).await.expect("dead letters")
    }

    /// Waits until there are at least that many dead letters.
    pub async fn until_dead(&self, letters: usize) -> Vec<dead_letter::Model> {
        eventually(&format!("{letters} dead letters"), async || {
            let dead = self.dead_letters().await;
            (dead.len() >= letters).then_some(dead)
        })
        .await
    }

    /// Inserts letters as if they had died.
    pub async fn insert_letters(&self, letters: Vec<dead_letter::Model>) {
        for letters in letters.chunks(500) {
            let rows = letters.iter().cloned().map(|letter| letter.into_active_model().reset_all());
            let insert = dead_letter::Entity::insert_many(rows);
            insert.exec_without_returning(&self.store.connection()).await.expect("inserted letters");
        }
    }

    /// The history of all dead letters, in the order in which it was written.
    pub async fn history(&self) -> Vec<dead_letter_history::Model> {
        let history = dead_letter_history::Entity::find().order_by_asc(dead_letter_history::Column::Id);
        history.all(&self.store.connection()).await.expect("history")
    }

    /// All runs of the reconciler, the oldest first.
    pub async fn reconcile_runs(&self) -> Vec<reconcile_run::Model> {
        let runs = reconcile_run::Entity::find().order_by_asc(reconcile_run::Column::Id);
        runs.all(&self.store.connection()).await.expect("runs")
    }

    /// All events in the outbox.
    pub async fn outbox(&self) -> Vec<outbox_event::Model> {
        outbox_event::Entity::find().all(&self.store.connection()).await.expect("the outbox")
    }

    /// Waits until the outbox is empty.
    pub async fn until_outbox_is_empty(&self) {
        until("an empty outbox", async || self.outbox().await.is_empty()).await;
    }

    /// Runs SQL that differs between the two databases.
    pub async fn sql(&self, sqlite: &str, postgres: &str) {
        let sql = if self.database.on == On::Sqlite { sqlite } else { postgres };
        self.store.connection().execute_unprepared(sql).await.expect(sql);
    }
}
