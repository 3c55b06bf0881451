//! The commands, as a person or a script calls them.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{On, Recipe, SECRET, TestApp, amqp_url, on_both};
use crate::fixtures;
use crate::process::{Invocation, banklink, until_answers};

/// What PostgreSQL is told to let a statement take, and a little more.
const LONGER_THAN_A_STATEMENT: Duration = Duration::from_secs(27);

/// The program on an app's namespace and database.
pub(crate) fn on(app: &TestApp, arguments: &[&str]) -> Invocation {
    banklink(arguments)
        .env("AMQP_URL", amqp_url())
        .env("DATABASE_URL", app.database_url())
        .env("BANKLINK_NAMESPACE", &app.namespace)
        .env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms")
}

on_both! {
    async fn check_says_what_is_well_and_what_is_not(app: TestApp) {
        let well = on(&app, &["check"]).run().await;
        assert_eq!((well.code, well.stdout.lines().count()), (0, 4), "{well:?}");
        assert!(well.stdout.lines().all(|line| line.contains(" ok ")), "{}", well.stdout);
        let json = on(&app, &["check", "--json"]).run().await;
        let lines: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["state"] == "ok"), "{lines:?}");

        let undeclared = on(&app, &["check", "--namespace", "it-nobody-has-this"]).run().await;
        assert_eq!(undeclared.code, 1);
        assert!(undeclared.stdout.contains("it-nobody-has-this.webhooks.dead"), "{}", undeclared.stdout);
        let away = on(&app, &["check", "--amqp-url", "amqp://127.0.0.1:1"]).run().await;
        assert!(away.code == 1 && away.stdout.contains("broker     failed"), "{away:?}");
        assert_eq!(away.stdout.lines().count(), 4, "what could not be looked at is not left out: {away:?}");
        app.sql("ALTER TABLE outbox_events RENAME TO gone", "ALTER TABLE outbox_events RENAME TO gone").await;
        let unwritable = on(&app, &["check"]).run().await;
        assert!(unwritable.code == 1 && unwritable.stdout.contains("database   failed"), "{unwritable:?}");
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_goes_down_and_up_again_and_says_where_it_stands_on_sqlite() {
    migrate_down_and_up(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_goes_down_and_up_again_and_says_where_it_stands_on_postgres() {
    migrate_down_and_up(On::Postgres).await;
}

/// Without roles: one that uses the tables meanwhile may meet the migration in a deadlock, and either may lose it.
async fn migrate_down_and_up(on_database: On) {
    let app = Recipe { workers: 0, relays: 0, ..Recipe::on(on_database) }.start().await;
    let states = async |app: &TestApp| {
        let status = on(app, &["migrate", "status", "--json"]).run().await;
        let steps = status.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["applied"] == true);
        steps.collect::<Vec<_>>()
    };
    assert!(states(&app).await.into_iter().all(|applied| applied));
    assert_eq!(on(&app, &["migrate", "down"]).run().await.code, 0);
    assert!(states(&app).await.into_iter().all(|applied| !applied));
    let unmigrated = on(&app, &["run", "worker", "--admin-listen", "127.0.0.1:0"]).run().await;
    assert_eq!(unmigrated.code, 1);
    assert!(unmigrated.stderr.contains("banklink migrate up"), "{}", unmigrated.stderr);
    let unwell = on(&app, &["check"]).run().await;
    assert!(unwell.code == 1 && unwell.stdout.contains("banklink migrate up"), "{unwell:?}");
    let at_once = tokio::join!(on(&app, &["migrate", "up"]).run(), on(&app, &["migrate", "up"]).run());
    assert_eq!((at_once.0.code, at_once.1.code), (0, 0), "{at_once:?}");
    assert!(states(&app).await.into_iter().all(|applied| applied));
    app.finish().await;
}

/// Whoever goes back to the version before must not need the schema to go back as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_with_steps_of_a_later_version_serves_this_one() {
    for on_database in [On::Sqlite, On::Postgres] {
        let app = Recipe { workers: 0, relays: 0, ..Recipe::on(on_database) }.start().await;
        let later = "INSERT INTO seaql_migrations VALUES ('m20991231_235959_later', 0)";
        app.sql(later, later).await;
        for command in [["migrate", "up"].as_slice(), &["migrate", "status"], &["check"]] {
            let done = on(&app, command).run().await;
            assert_eq!(done.code, 0, "{command:?}: {done:?}");
        }
        let refused = on(&app, &["migrate", "down"]).run().await;
        assert!(refused.code == 1 && refused.stderr.contains("m20991231_235959_later"), "{refused:?}");
        let mut process = on(&app, &["run", "worker", "--admin-listen", "127.0.0.1:0", "--migrate", "true"]).start();
        until_answers(&process.admin().await, "/readyz", 200).await;
        assert_eq!(process.terminate().await, 0, "{}", process.log());
        app.finish().await;
    }
}

/// As over millions of rows.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_may_take_longer_to_make_than_any_other_statement() {
    let app = Recipe { workers: 0, relays: 0, ..Recipe::on(On::Postgres) }.start().await;
    assert_eq!(on(&app, &["migrate", "down"]).run().await.code, 0);
    let seconds = LONGER_THAN_A_STATEMENT.as_secs();
    let slow = format!(
        "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS \
         'BEGIN IF current_query() LIKE ''%outbox_events_fresh%'' THEN PERFORM pg_sleep({seconds}); END IF; END'"
    );
    app.sql("", &slow).await;
    let on_indexes =
        "CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION slow()";
    app.sql("", on_indexes).await;
    let began = std::time::Instant::now();
    let migrated = on(&app, &["migrate", "up"]).run().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert!(began.elapsed() >= LONGER_THAN_A_STATEMENT, "it was slow");
    app.finish().await;
}

/// Everybody else waits behind whoever waits for a table.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_does_not_wait_for_a_table_that_somebody_holds() {
    let app = Recipe { workers: 0, relays: 0, ..Recipe::on(On::Postgres) }.start().await;
    assert_eq!(on(&app, &["migrate", "down"]).run().await.code, 0);
    let rival = Database::connect(app.database_url()).await.unwrap().begin().await.unwrap();
    rival.execute_unprepared("LOCK TABLE seaql_migrations").await.unwrap();
    let refused = on(&app, &["migrate", "up"]).run().await;
    assert!(refused.code == 1 && refused.stderr.contains("lock timeout"), "{refused:?}");
    rival.rollback().await.unwrap();
    assert_eq!(on(&app, &["migrate", "up"]).run().await.code, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_run_and_migrate_create_a_sqlite_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    assert_eq!(banklink(&["check"]).env("DATABASE_URL", &url).run().await.code, 1);
    assert!(!file.exists());
    assert_eq!(banklink(&["migrate", "up"]).env("DATABASE_URL", &url).run().await.code, 0);
    assert!(file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn send_posts_a_file_lines_stdin_or_samples_and_sums_up() {
    let app = TestApp::start(On::Sqlite).await;
    let send = |arguments: &[&str]| {
        let all = [&["send", "--url", &app.url, "--json"], arguments].concat();
        banklink(&all).env("LEAN_WEBHOOK_SECRETS", SECRET)
    };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/entity_created.json");
    let sent = send(&[file]).run().await;
    assert_eq!(sent.code, 0, "{sent:?}");
    let summary: Value = serde_json::from_str(&sent.stdout).unwrap();
    assert_eq!((&summary["sent"], &summary["accepted"], &summary["refused"]), (&json!(1), &json!(1), &json!(0)));

    let (first, second) =
        (fixtures::created(Uuid::new_v4()).to_string(), fixtures::created(Uuid::new_v4()).to_string());
    let exported = json!({ "message_id": Uuid::now_v7(), "body": base64(second.as_bytes()) });
    let lines = format!("{first}\n\n{exported}\n");
    assert_eq!(send(&["-"]).input(lines).run().await.code, 0);
    assert_eq!(send(&["--count", "3", "--rate", "1000"]).run().await.code, 0);
    app.settle_everything().await;
    assert_eq!(app.bank_links().await.len(), 1 + 2 + 3);
    assert_eq!(app.dead_letters().await.len(), 0, "bodies arrive as they were");

    let refused = send(&[file]).env("LEAN_WEBHOOK_SECRETS", "wrong").run().await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("answered 401"), "{}", refused.stderr);
    assert_eq!(send(&["-"]).input("neither JSON\nnor lines").run().await.code, 1);
    app.assert_nothing_left_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tail_prints_each_event_on_a_line() {
    let app = Recipe::on(On::Sqlite).start().await;
    let tail = on(&app, &["events", "tail", "--count", "2"]).start();
    tail.until_log("waiting for events").await;
    app.post(&fixtures::created(Uuid::new_v4())).await.assert_accepted();
    app.post(&fixtures::created(Uuid::new_v4())).await.assert_accepted();
    let mut tail = tail;
    assert_eq!(tail.ended().await, 0);
    let printed = tail.log();
    let events: Vec<Value> = printed.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() == 2 && events.iter().all(|event| event["specversion"] == "1.0"), "{printed}");
    app.finish().await;
}

#[tokio::test]
async fn completions_are_printed_for_a_shell() {
    let bash = banklink(&["completions", "bash"]).run().await;
    assert!(bash.code == 0 && bash.stdout.contains("_banklink"), "{bash:?}");
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}
