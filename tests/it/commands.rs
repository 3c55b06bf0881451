//! The commands, as a person or a script runs them.

use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use serde_json::Value;
use testkit::process::{Output, banklink, program};
use testkit::waiting::within;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn check_reports_what_is_healthy_and_what_is_not(#[case] on: On) {
    let app = TestApp::start(on).await;
    let healthy = app.command(&["check"]).run().await;
    assert_eq!((healthy.code, healthy.stdout.lines().count()), (0, 9), "{healthy:?}");
    assert!(healthy.stdout.lines().all(|line| line.contains(" ok ")), "{}", healthy.stdout);
    let json = app.command(&["check", "--json"]).run().await;
    let lines: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["state"] == "ok"), "{lines:?}");
    let names: Vec<&str> = lines.iter().filter_map(|line| line["check"].as_str()).collect();
    assert_eq!(names, ["broker", "topology", "database", "schema", "version", "confirm", "tls", "clock", "management"]);
    let detail = |check: &str| {
        let line = lines.iter().find(|line| line["check"] == check);
        line.and_then(|line| line["detail"].as_str()).unwrap_or_default().to_owned()
    };
    assert!(detail("version").starts_with("RabbitMQ ") && detail("confirm").contains("confirmed"), "{lines:?}");
    assert!(detail("management").starts_with("not asked: "), "{lines:?}");
    let warns = assert_remedies(&json);
    // Debian's RabbitMQ has advisories against it.
    assert_eq!(app.command(&["check", "--strict"]).run().await.code, i32::from(warns), "{json:?}");

    let undeclared = app.command(&["check", "--namespace", "it-undeclared"]).run().await;
    assert_eq!(undeclared.code, 1);
    assert!(undeclared.stdout.contains("it-undeclared.webhooks.dead"), "{}", undeclared.stdout);
    for arguments in [
        ["--namespace", "it-undeclared"],
        ["--amqp-url", "amqp://127.0.0.1:1"],
        ["--database-url", "sqlite:///does/not/exist"],
        ["--database-url", "postgres://127.0.0.1:1/none"],
    ] {
        let output = app.command(&[&["check", "--json"], arguments.as_slice()].concat()).run().await;
        assert_eq!(output.code, 1, "{output:?}");
        assert_remedies(&output);
    }
    let unreachable = app.command(&["check", "--amqp-url", "amqp://127.0.0.1:1"]).run().await;
    assert!(unreachable.code == 1 && unreachable.stdout.contains("broker     failed"), "{unreachable:?}");
    assert_eq!(unreachable.stdout.lines().count(), 9, "a check that could not run is listed, too: {unreachable:?}");
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        app.sql(&sql, &sql).await;
    };
    rename("outbox_events", "gone").await;
    let unwritable = app.command(&["check"]).run().await;
    assert!(unwritable.code == 1 && unwritable.stdout.contains("database   failed"), "{unwritable:?}");
    rename("gone", "outbox_events").await;
}

/// Asserts that what failed or warns says what to do; returns whether there is a warning.
fn assert_remedies(check: &Output) -> bool {
    let lines = check.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    for line in &lines {
        let is_healthy = line["state"] == "ok" && line["warning"].is_null();
        assert!(is_healthy || line["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{line}");
        let warning = line["warning"].as_str();
        assert!(warning.is_none_or(|warning| line["detail"].as_str().unwrap().contains(warning)), "{line}");
    }
    lines.iter().any(|line| line["warning"].is_string())
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

#[tokio::test]
async fn a_man_page_is_written_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let man = banklink(&["man", directory.path().to_str().unwrap()]).run().await;
    assert_eq!(man.code, 0, "{man:?}");
    let replay = std::fs::read_to_string(directory.path().join("banklink-dead-letters-replay.1")).unwrap();
    assert!(replay.contains("\\-\\-canary") && replay.contains(".SH EXAMPLES\n.nf\n  banklink"), "{replay}");
    assert!(!replay.contains("EXTRA"), "{replay}");
    let run = std::fs::read_to_string(directory.path().join("banklink-run.1")).unwrap();
    assert!(run.contains("BANKLINK_BATCH_SIZE") && run.contains("LEAN_WEBHOOK_SECRETS_FILE"), "{run}");
    assert!(directory.path().join("banklink.1").exists() && !directory.path().join("banklink-man.1").exists());
    assert_eq!(banklink(&["man", "/does/not/exist"]).run().await.code, 1);
}

#[tokio::test]
async fn a_setting_that_is_true_or_false_is_a_flag_with_or_without_a_value() {
    let wrong = "address";
    for (flags, named) in [
        (["--migrate", "worker", "relay"].as_slice(), None),
        (&["--migrate", "false", "worker", "--declare"], None),
        (&["--migrate=soon", "worker"], Some("BANKLINK_MIGRATE: expected true or false")),
    ] {
        let run = banklink(&[&["run", "--database-url", wrong], flags].concat()).run().await;
        assert!(run.code == 2 && run.stderr.contains("DATABASE_URL"), "{flags:?}: {run:?}");
        assert_eq!(run.stderr.contains("BANKLINK_MIGRATE"), named.is_some(), "{flags:?}: {run:?}");
        assert!(named.is_none_or(|text| run.stderr.contains(text)), "{flags:?}: {run:?}");
    }
}

#[tokio::test]
async fn on_a_terminal_there_is_colour_unless_no_color_is_set() {
    for (no_color, expected) in [("", true), ("1", false)] {
        for arguments in ["--help", "run relay --admin-listen 192.0.2.1:1"] {
            // `script` runs it on a terminal. The second one logs an error and ends.
            let mut script = tokio::process::Command::new("script");
            script.args(["-qec", &format!("{} {arguments}", program().display()), "/dev/null"]).env_clear();
            script.env("NO_COLOR", no_color).env("TERM", "xterm").env("PATH", "/usr/bin:/bin");
            let output = within(script.stdin(std::process::Stdio::null()).output()).await.unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("banklink"), "{arguments}: {text}");
            assert_eq!(text.contains("\u{1b}["), expected, "NO_COLOR={no_color} {arguments}: {text:?}");
        }
    }
}
