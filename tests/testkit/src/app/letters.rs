//! Dead letters that no webhook had to die for.

use chrono::Utc;
use entity::{dead_letter, lease, replay, replay_letter};
use sea_orm::{ActiveModelTrait, DatabaseConnection, EntityTrait, IntoActiveModel, QueryOrder};
use serde_json::Value;
use uuid::Uuid;

use super::TestApp;

/// Inserts a dead letter of class `panicked` for each of `bodies`. They died in that order.
pub async fn insert_dead_letters(store: &DatabaseConnection, bodies: impl IntoIterator<Item = Value>) {
    let begin = Utc::now() - chrono::TimeDelta::hours(1);
    let letters = bodies.into_iter().enumerate().map(|(number, body)| {
        let at = begin + chrono::TimeDelta::microseconds(i64::try_from(number).expect("a small number"));
        let letter = dead_letter::Model {
            message_id: Uuid::new_v4(),
            source: "lean".to_owned(),
            body: body.to_string().into_bytes(),
            event_type: body["type"].as_str().map(str::to_owned),
            failure_class: "panicked".to_owned(),
            failure: "a bad deploy".to_owned(),
            fingerprint: "0123456789ab".to_owned(),
            attempts: 6,
            received_at: at,
            first_died_at: at,
            last_died_at: at,
            deaths: 1,
            state: "dead".to_owned(),
            received_nanos: at.timestamp_nanos_opt().expect("before 2262"),
            ..dead_letter::Model::default()
        };
        letter.into_active_model().reset_all()
    });
    let letters: Vec<_> = letters.collect();
    for letters in letters.chunks(1_000) {
        let insert = dead_letter::Entity::insert_many(letters.to_vec());
        insert.exec_without_returning(store).await.expect("inserted");
    }
}

/// Who holds the lease `name`.
pub async fn lease_holder(app: &TestApp, name: &str) -> String {
    let lease = lease::Entity::find_by_id(name).one(&app.store.connection()).await.expect("a lease");
    lease.expect("the lease is held").holder
}

impl TestApp {
    /// All replays, the oldest first.
    pub async fn replays(&self) -> Vec<replay::Model> {
        let replays = replay::Entity::find().order_by_asc(replay::Column::Id);
        replays.all(&self.store.connection()).await.expect("replays")
    }

    /// The letters of all replays, in their order.
    pub async fn replay_letters(&self) -> Vec<replay_letter::Model> {
        use replay_letter::{Column, Entity};
        let letters = Entity::find().order_by_asc(Column::ReplayId).order_by_asc(Column::Position);
        letters.all(&self.store.connection()).await.expect("letters of replays")
    }
}
