//! The rows of bank links, dead letters, history and reconcile runs.

use chrono::{DateTime, TimeDelta, Utc};
use entity::{bank_link, dead_letter, dead_letter_history, reconcile_run};
use serde_json::json;
use uuid::Uuid;

use crate::webhook;

/// Failure classes with their fingerprints and failures.
pub(super) const KINDS: [(&str, &str, &str); 4] = [
    ("invalid_webhook", "1d5c2b7f0a11", "payload.permissions: expected a list of names or a map of booleans"),
    ("panicked", "2d5c2b7f0a12", "panicked at src/worker/write.rs:51"),
    ("rejected_by_database", "3d5c2b7f0a13", "value too long for column \"bank_name\""),
    ("unknown_entity", "4d5c2b7f0a14", "no bank link of the entity"),
];
/// Which part of 100 letters ends with each kind.
const SHARES: [u32; 4] = [50, 80, 99, 100];
/// Who has replayed letters, and who has revealed a few.
const OPERATOR: &str = "anna";
pub(super) const RARE_OPERATOR: &str = "carol";
/// One of so many ended letters was revealed.
const LETTERS_PER_REVEALED: u32 = 500;
const LINKS_PER_CUSTOMER: u32 = 4;

/// A bank link that was linked before `now`.
pub(super) fn link(number: u32, now: DateTime<Utc>) -> bank_link::Model {
    let at = now - TimeDelta::days(2) - TimeDelta::minutes(number.into());
    let text = |text: &str| Some(text.to_owned());
    bank_link::Model {
        entity_id: Uuid::new_v4(),
        customer_id: format!("customer-{}", number / LINKS_PER_CUSTOMER),
        app_user_id: None,
        bank_identifier: text("LEANMB2"),
        bank_name: text("Lean Mock Bank"),
        bank_logo: None,
        bank_main_color: text("#1beb75"),
        bank_background_color: text("#001E26"),
        bank_swift_code: None,
        bank_account_type: None,
        bank_type: None,
        end_user_id: None,
        permissions: json!(["accounts", "balance", "identity", "transactions"]),
        linked_at: Some(at),
        reconnected_at: None,
        occurred_at: at,
        version: at.timestamp_nanos_opt().unwrap_or_default(),
        revision: 1,
        last_event_id: None,
        instants: json!({}),
        created_at: at,
        updated_at: at,
    }
}

/// A letter about `entity` that has died.
pub(super) fn dead(number: i32, entity: Uuid, died_at: DateTime<Utc>) -> dead_letter::Model {
    let share = number.unsigned_abs() % 100;
    let kind = SHARES.iter().position(|end| share < *end).unwrap_or_default();
    let (class, fingerprint, failure) = KINDS[kind];
    let event_type = if number % 3 == 0 { "entity.updated" } else { "entity.created" };
    dead_letter::Model {
        message_id: Uuid::now_v7(),
        source: "lean".to_owned(),
        body: webhook::created(entity).replace("entity.created", event_type).into_bytes(),
        event_type: Some(event_type.to_owned()),
        entity_id: Some(entity),
        failure_class: class.to_owned(),
        failure: failure.to_owned(),
        fingerprint: fingerprint.to_owned(),
        attempts: 1,
        received_at: died_at,
        first_died_at: died_at,
        last_died_at: died_at,
        deaths: 1,
        state: "dead".to_owned(),
        received_nanos: died_at.timestamp_nanos_opt().unwrap_or_default(),
        ..dead_letter::Model::default()
    }
}

/// A letter that was replayed and resolved before `end`.
pub(super) fn ended(number: u32, end: DateTime<Utc>) -> dead_letter::Model {
    let at = end - TimeDelta::minutes(number.into());
    dead_letter::Model {
        state: "resolved".to_owned(),
        outcome: Some("applied".to_owned()),
        replays: 1,
        replayed_at: Some(at),
        replayed_by: Some(OPERATOR.to_owned()),
        resolved_at: Some(at),
        ..dead(1, Uuid::new_v4(), at)
    }
}

/// The history of a letter that was replayed and resolved.
pub(super) fn ended_history((number, letter): (u32, &dead_letter::Model)) -> Vec<dead_letter_history::Model> {
    let mut entries =
        vec![entry(letter, None, "died"), entry(letter, Some(OPERATOR), "replayed"), entry(letter, None, "resolved")];
    if number.is_multiple_of(LETTERS_PER_REVEALED) {
        entries.push(entry(letter, Some(RARE_OPERATOR), "revealed"));
    }
    entries
}

/// The history of a letter that died.
pub(super) fn death(letter: &dead_letter::Model) -> dead_letter_history::Model {
    entry(letter, None, "died")
}

fn entry(letter: &dead_letter::Model, by: Option<&str>, action: &str) -> dead_letter_history::Model {
    dead_letter_history::Model {
        message_id: letter.message_id,
        at: letter.last_died_at,
        by: by.map(str::to_owned),
        action: action.to_owned(),
        detail: Some(letter.failure.clone()),
        ..dead_letter_history::Model::default()
    }
}

/// A complete run, the earlier the higher its number.
pub(super) fn run(number: u32) -> reconcile_run::Model {
    let at = Utc::now() - TimeDelta::minutes(10) * i32::try_from(number).unwrap_or(0);
    reconcile_run::Model {
        source: "events".to_owned(),
        started_at: at,
        ended_at: Some(at),
        from: at - TimeDelta::hours(1),
        to: at,
        known: 1_000,
        complete_until: Some(at),
        ..reconcile_run::Model::default()
    }
}
