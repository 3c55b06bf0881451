//! Discarding and pruning dead letters, and wrong usage.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};
use testkit::{On, TestApp};
use uuid::Uuid;

use super::{dead_letters, lines, states};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn letters_are_discarded_with_a_reason_and_pruned_by_age(#[case] on: On) {
    let app = TestApp::start(on).await;
    app.post_bytes(b"garbage").await.assert_accepted();
    app.post_bytes(b"more garbage").await.assert_accepted();
    let letters = app.until_dead(2).await;
    let id = letters[0].message_id.to_string();
    let discarded = dead_letters(&app, &["discard", &id, "--reason", "a test", "--json"]).run().await;
    let totals: Value = serde_json::from_str(&discarded.stdout).unwrap();
    assert_eq!((discarded.code, &totals["selected"], &totals["skipped"]), (0, &json!(1), &json!(0)));
    let letter =
        app.dead_letters().await.into_iter().find(|letter| letter.message_id == letters[0].message_id).unwrap();
    assert_eq!((letter.state.as_str(), letter.note.as_deref()), ("discarded", Some("a test")));
    assert_eq!(dead_letters(&app, &["prune", "--resolved-older-than", "1h"]).run().await.code, 0);
    assert_eq!(app.dead_letters().await.len(), 2, "not old enough");
    assert_eq!(lines(&app, &["prune", "--resolved-older-than", "0s", "--dry-run"]).await[0]["pruned"], 1);
    assert_eq!(lines(&app, &["prune", "--resolved-older-than", "0s"]).await[0]["pruned"], 1);
    let left = app.dead_letters().await;
    assert_eq!((left.len(), left[0].state.as_str()), (1, "dead"), "dead letters are never pruned");
    let history = app.history().await;
    let of_pruned: Vec<_> = history.iter().filter(|entry| entry.message_id == letters[0].message_id).collect();
    assert_eq!(of_pruned.len(), 2, "the history outlives the letter: {history:?}");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_old_letters_are_pruned_in_batches(#[case] on: On) {
    let app = TestApp::start(on).await;
    app.post_bytes(b"garbage").await.assert_accepted();
    app.until_dead(1).await;
    assert_eq!(dead_letters(&app, &["discard", "--state", "dead", "--reason", "x", "--yes"]).run().await.code, 0);
    // Each step doubles the number.
    for _ in 0..12 {
        let copy = |new_id: &str| {
            format!(
                "CREATE TABLE copies AS SELECT * FROM dead_letters; UPDATE copies SET message_id = {new_id}; \
             INSERT INTO dead_letters SELECT * FROM copies; DROP TABLE copies"
            )
        };
        app.sql(&copy("randomblob(16)"), &copy("gen_random_uuid()")).await;
    }
    app.post_bytes(b"more garbage").await.assert_accepted();
    app.until_dead(4_097).await;
    assert_eq!(lines(&app, &["prune", "--resolved-older-than", "0s"]).await[0]["pruned"], 4_096);
    assert_eq!(states(&app).await, BTreeMap::from([("dead ".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_refused_with_status_2() {
    let app = TestApp::start(On::Sqlite).await;
    let id = Uuid::new_v4().to_string();
    for wrong in [
        ["replay"].as_slice(),
        &["discard", "--reason", "x"],
        &["replay", "--class", "nonsense"],
        &["replay", "--class", "panicked"],
        &["discard", "--class", "panicked", "--reason", "x"],
        &["replay", &id, "--class", "panicked", "--yes"],
        &["replay", "no-uuid"],
        &["list", "--since", "someday"],
        &["list", "--state", "limbo"],
        &["list", "--limit", "9223372036854775808"],
        &["discard", &id],
        &["prune"],
        &["show"],
    ] {
        let outcome = dead_letters(&app, wrong).run().await;
        assert_eq!(outcome.code, 2, "{wrong:?}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tables_the_commands_name_the_missing_migration() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    assert_eq!(app.command(&["migrate", "down"]).run().await.code, 0);
    for command in [["list"].as_slice(), &["replay", "--class", "panicked", "--yes"]] {
        let outcome = dead_letters(&app, command).run().await;
        assert!(outcome.code == 1 && outcome.stderr.contains("banklink migrate up"), "{command:?}: {outcome:?}");
    }
    assert_eq!(app.command(&["migrate", "up"]).run().await.code, 0);
}
