//! `banklink dead-letters`: read, try a dry run, replay, edit, discard.

mod concurrency;
mod discard;
mod edit;
mod hostile;
mod replay;
mod show;

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::process::Invocation;
use testkit::{TestApp, fixtures};
use uuid::Uuid;

/// `banklink dead-letters`, configured for `app`.
fn dead_letters(app: &TestApp, arguments: &[&str]) -> Invocation {
    app.command(&[&["dead-letters"], arguments].concat()).env("USER", "operator")
}

/// Runs `banklink dead-letters` with --json, and parses the lines it prints.
async fn lines(app: &TestApp, arguments: &[&str]) -> Vec<Value> {
    let outcome = dead_letters(app, &[arguments, &["--json"]].concat()).run().await;
    assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Makes dead letters that a replay can apply: reconnects that died before their links existed. The links exist afterwards.
/// Returns the message ids and the entities.
async fn replayable(app: &TestApp, letters: usize) -> Vec<(Uuid, Uuid)> {
    let before = app.dead_letters().await.len();
    let mut made = Vec::new();
    for _ in 0..letters {
        let entity = Uuid::new_v4();
        let id = app.post(&fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
        made.push((id, entity));
    }
    app.until_dead(before + letters).await;
    for (_, entity) in &made {
        app.post(&fixtures::created(*entity)).await.assert_accepted();
    }
    app.wait_until_processed().await;
    made
}

/// Counts the dead letters by state and outcome.
async fn states(app: &TestApp) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for letter in app.dead_letters().await {
        *states.entry(format!("{} {}", letter.state, letter.outcome.unwrap_or_default())).or_default() += 1;
    }
    states
}

/// Asserts that the next events announce a reconnect, one for each replayed letter.
async fn assert_reconnect_events(app: &TestApp, events: usize) {
    for _ in 0..events {
        assert_eq!(app.next_event().await["type"], "customer.bank_reconnected");
    }
}
