//! Replaying and editing dead letters.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::{assert_reconnect_events, dead_letters, lines, replayable, states};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_resolves_what_can_be_applied_and_reports_what_dies_again(#[case] on: On) {
    let app = TestApp::start(on).await;
    let made = replayable(&app, 3).await;
    app.post_bytes(b"garbage").await.assert_accepted();
    app.until_dead(4).await;
    let replayed = dead_letters(&app, &["replay", "--since", "1h", "--yes", "--json", "--by", "anna"]).run().await;
    assert_eq!(replayed.code, 1, "one of them dies again");
    let totals: Value = serde_json::from_str(&replayed.stdout).unwrap();
    let expected = json!({"selected": 4, "replayed": 4, "skipped": 0, "applied": 3, "stale": 0, "ignored": 0, "dead": 1, "under_way": 0,
        "replay": app.replays().await[0].id});
    assert_eq!(totals, expected);
    for (_, entity) in &made {
        assert!(app.bank_link(*entity).await.unwrap().reconnected_at.is_some());
    }
    assert_reconnect_events(&app, made.len()).await;
    let garbage = app.dead_letters().await.into_iter().find(|letter| letter.state == "dead").unwrap();
    assert_eq!((garbage.deaths, garbage.replays, garbage.attempts), (2, 1, 1));
    let history: Vec<_> =
        app.history().await.into_iter().filter(|e| e.message_id == made[0].0).map(|e| (e.action, e.by)).collect();
    let by = |name: Option<&str>| name.map(str::to_owned);
    assert_eq!(history, [("died".into(), None), ("replayed".into(), by(Some("anna"))), ("resolved".into(), None)]);

    let nothing = dead_letters(&app, &["replay", &made[0].0.to_string(), "--json"]).run().await;
    let totals: Value = serde_json::from_str(&nothing.stdout).unwrap();
    assert_eq!((nothing.code, &totals["selected"], &totals["skipped"]), (0, &json!(1), &json!(1)), "it is resolved");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_reports_the_outcomes_and_changes_nothing(#[case] on: On) {
    let app = TestApp::start(on).await;
    let made = replayable(&app, 1).await;
    let entity = made[0].1;
    app.post(&fixtures::reconnected(Uuid::new_v4(), "2026-06-01T00:00:00Z")).await.assert_accepted();
    app.post_bytes(b"garbage").await.assert_accepted();
    app.until_dead(3).await;
    let before = (app.bank_links().await, app.dead_letters().await, app.history().await);
    let dry_run = lines(&app, &["replay", "--state", "dead", "--dry-run"]).await;
    let mut actions: Vec<_> = dry_run.iter().map(|line| line["would"].as_str().unwrap()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["fail", "fail", "update"]);
    let update = dry_run.iter().find(|line| line["would"] == "update").unwrap();
    assert_eq!(update["events"], json!(["customer.bank_reconnected"]));
    assert_eq!((app.bank_links().await, app.dead_letters().await, app.history().await), before);
    assert!(app.bank_link(entity).await.unwrap().reconnected_at.is_none());
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_old_letter_does_not_overwrite_newer_fields(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let mut wrong = fixtures::created(entity);
    wrong["banklink_fault"] = json!("panic");
    let id = app.post(&wrong).await.assert_accepted().to_string();
    app.until_dead(1).await;
    app.post(&fixtures::updated(entity, "2026-06-01T00:00:00Z", &json!(["accounts"]))).await.assert_accepted();
    app.wait_until_processed().await;

    // The edit removes the failpoint; the webhook is older than the fields of the link.
    wrong["banklink_fault"] = json!("none");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wrong.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(dead_letters(&app, &["edit", &id, "--body", path]).run().await.code, 2, "stdin is not a terminal");
    let edited = dead_letters(&app, &["edit", &id, "--body", path, "--yes", "--json"]).run().await;
    assert_eq!(edited.code, 0, "{edited:?}");
    assert!(
        edited.stderr.contains("only masked values differ") && edited.stderr.contains("dry run: update"),
        "{}",
        edited.stderr
    );
    let totals: Value = serde_json::from_str(&edited.stdout).unwrap();
    assert_eq!((&totals["selected"], &totals["replayed"], &totals["skipped"]), (&json!(1), &json!(1), &json!(0)));
    app.wait_until_processed().await;
    let link = app.bank_link(entity).await.unwrap();
    assert_eq!(link.permissions, json!(["accounts"]), "the newer permissions stay");
    assert!(link.linked_at.is_some(), "the creation supplies linked_at");
    assert_eq!(states(&app).await, BTreeMap::from([("resolved edited".to_owned(), 1)]));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_canary_and_too_many_failures_stop_a_replay(#[case] on: On) {
    let app = TestApp::start(on).await;
    for _ in 0..8 {
        app.post_bytes(b"garbage").await.assert_accepted();
    }
    app.until_dead(8).await;
    let canary = dead_letters(&app, &["replay", "--state", "dead", "--yes", "--json", "--canary", "2"]).run().await;
    let totals: Value = serde_json::from_str(&canary.stdout).unwrap();
    assert_eq!((canary.code, &totals["replayed"], &totals["dead"]), (1, &json!(2), &json!(2)), "{canary:?}");
    assert!(canary.stderr.contains("were not replayed"), "{}", canary.stderr);
    let stopped = ["replay", "--state", "dead", "--yes", "--json", "--rate", "4/s", "--stop-on-failure", "10"];
    let stopped = dead_letters(&app, &stopped).run().await;
    let totals: Value = serde_json::from_str(&stopped.stdout).unwrap();
    assert!(stopped.code == 1 && totals["replayed"].as_u64() < Some(8), "{stopped:?}");
}
