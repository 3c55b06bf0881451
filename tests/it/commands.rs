//! The commands, as a person or a script runs them.

use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use serde_json::Value;
use testkit::process::banklink;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn check_reports_what_is_healthy_and_what_is_not(#[case] on: On) {
    let app = TestApp::start(on).await;
    let healthy = app.command(&["check"]).run().await;
    assert_eq!((healthy.code, healthy.stdout.lines().count()), (0, 4), "{healthy:?}");
    assert!(healthy.stdout.lines().all(|line| line.contains(" ok ")), "{}", healthy.stdout);
    let json = app.command(&["check", "--json"]).run().await;
    let lines: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["state"] == "ok"), "{lines:?}");

    let undeclared = app.command(&["check", "--namespace", "it-undeclared"]).run().await;
    assert_eq!(undeclared.code, 1);
    assert!(undeclared.stdout.contains("it-undeclared.webhooks.dead"), "{}", undeclared.stdout);
    let unreachable = app.command(&["check", "--amqp-url", "amqp://127.0.0.1:1"]).run().await;
    assert!(unreachable.code == 1 && unreachable.stdout.contains("broker     failed"), "{unreachable:?}");
    assert_eq!(unreachable.stdout.lines().count(), 4, "a check that could not run is listed, too: {unreachable:?}");
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        app.sql(&sql, &sql).await;
    };
    rename("outbox_events", "gone").await;
    let unwritable = app.command(&["check"]).run().await;
    assert!(unwritable.code == 1 && unwritable.stdout.contains("database   failed"), "{unwritable:?}");
    rename("gone", "outbox_events").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_run_and_migrate_create_a_sqlite_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    assert_eq!(banklink(&["check"]).env("DATABASE_URL", &url).run().await.code, 1);
    assert!(!file.exists());
    assert_eq!(banklink(&["migrate", "up"]).env("DATABASE_URL", &url).run().await.code, 0);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "it holds customer data");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tail_prints_each_event_on_a_line() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let mut tail = app.command(&["events", "tail", "--count", "2"]).start();
    tail.until_log("waiting for events").await;
    app.post(&fixtures::created(Uuid::new_v4())).await.assert_accepted();
    app.post(&fixtures::created(Uuid::new_v4())).await.assert_accepted();
    assert_eq!(tail.ended().await, 0);
    let printed = tail.log();
    let events: Vec<Value> = printed.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() == 2 && events.iter().all(|event| event["specversion"] == "1.0"), "{printed}");
}

#[tokio::test]
async fn completions_are_printed_for_a_shell() {
    let bash = banklink(&["completions", "bash"]).run().await;
    assert!(bash.code == 0 && bash.stdout.contains("_banklink"), "{bash:?}");
}
