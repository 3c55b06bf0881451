//! The console: who may do what, what its pages say, and what its forms do (docs/CONTRACT.md#12-the-console).

mod access;
mod audit;
mod browser;
mod browser_live;
mod browser_replays;
mod changes;
mod gate;
mod hostile;
mod letter;
mod limits;
mod lists;
mod live;
mod login;
mod processes;
mod replays;
mod resume;
mod settings;
mod slow;
mod starved;
mod volume;

use banklink::domain::dead_letter::{State, fingerprint};
use banklink::domain::failure::FailureClass;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use entity::dead_letter;
use serde_json::{Value, json};
use uuid::Uuid;

/// A letter about `webhook` that died `age` ago, of that failure.
fn letter(webhook: &Value, class: FailureClass, failure: &str, age: TimeDelta) -> dead_letter::Model {
    // As precise as the columns are.
    let died_at: DateTime<Utc> = (Utc::now() - age).trunc_subsecs(6);
    dead_letter::Model {
        message_id: Uuid::now_v7(),
        source: "lean".to_owned(),
        body: webhook.to_string().into_bytes(),
        event_type: webhook["type"].as_str().map(str::to_owned),
        entity_id: webhook["payload"]["id"].as_str().and_then(|id| id.parse().ok()),
        failure_class: class.as_str().to_owned(),
        failure: failure.to_owned(),
        fingerprint: fingerprint(class, failure),
        attempts: 1,
        received_at: died_at,
        first_died_at: died_at,
        last_died_at: died_at,
        deaths: 1,
        state: State::Dead.as_str().to_owned(),
        received_nanos: died_at.timestamp_nanos_opt().unwrap(),
        ..dead_letter::Model::default()
    }
}

/// Letters of four kinds, as a bad deploy leaves them: the older, the higher their number.
fn after_a_bad_deploy(count: i32) -> Vec<dead_letter::Model> {
    let webhook = |number: i32| {
        json!({
            "type": if number % 3 == 0 { "entity.updated" } else { "entity.created" },
            "payload": { "id": Uuid::new_v4(), "customer_id": format!("customer-{}", number % 50) },
            "timestamp": "2026-10-10T17:19:00.059933Z", "event_id": Uuid::new_v4(),
        })
    };
    let kinds = [
        (FailureClass::InvalidWebhook, "payload.permissions: expected a list of names or a map of booleans"),
        (FailureClass::Panicked, "panicked at src/worker/write.rs:51"),
        (FailureClass::RejectedByDatabase, "value too long for column \"bank_name\""),
        (FailureClass::UnknownEntity, "no bank link of the entity"),
    ];
    let kind = |number: i32| {
        kinds[match number % 10 {
            0..5 => 0,
            5..8 => 1,
            8 => 2,
            _ => 3,
        }]
    };
    let letters = (0..count).map(|number| {
        let (class, failure) = kind(number);
        letter(&webhook(number), class, failure, TimeDelta::seconds(60 + i64::from(number)))
    });
    letters.collect()
}
