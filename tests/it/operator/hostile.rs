//! Bodies, headers and names that would take over an operator's terminal.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use testkit::process::Output;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::dead_letters;

/// Writes the clipboard (OSC 52), clears the screen, reverses text, hides text, and forges a line.
const HOSTILE: &str = "\u{1b}]52;c;cm0=\u{7}\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200b}\u{200f}\u{feff}\u{2028}\r\n  2026-01-01T00:00:00Z  resolved by admin";

/// What may reach a terminal: everything but control characters other than the line break that ends a line, and characters that
/// are invisible or change the direction of text.
fn assert_harmless(what: &str, text: &str) {
    let harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.contains(harmful), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("  2026-01-01T00:00:00Z")), "{what}: {text}");
}

fn assert_output_is_harmless(what: &str, output: &Output) {
    assert_harmless(what, &output.stdout);
    assert_harmless(what, &output.stderr);
}

/// Publishes a message that dies, with hostile text wherever another program can put it. Returns the letter's id.
async fn publish_hostile(app: &TestApp) -> Uuid {
    let mut webhook = fixtures::created(Uuid::new_v4());
    webhook["payload"]["id"] = json!(HOSTILE);
    webhook[HOSTILE] = json!({ HOSTILE: HOSTILE });
    webhook["payload"]["bank_details"]["name"] = json!(HOSTILE);
    let mut headers = FieldTable::default();
    for name in ["x-source", "x-edited-from"] {
        headers.insert(name.into(), AMQPValue::LongString(HOSTILE.into()));
    }
    let properties = BasicProperties::default().with_message_id(HOSTILE.into()).with_headers(headers);
    app.publish(webhook.to_string().as_bytes(), properties).await;
    app.until_dead(1).await[0].message_id
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_stranger_wrote_reaches_the_terminal_as_it_is() {
    let app = TestApp::start(On::Sqlite).await;
    let id = publish_hostile(&app).await.to_string();
    // A type that is not known makes no letter, so it is put there as an earlier version might have.
    app.sql(
        "UPDATE dead_letters SET event_type = failure || source, failure = source",
        "UPDATE dead_letters SET event_type = failure || source, failure = source",
    )
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "type": HOSTILE, HOSTILE: HOSTILE }).to_string()).unwrap();
    let edited = file.path().to_str().unwrap();
    for arguments in [
        ["list"].as_slice(),
        &["list", "--json"],
        &["stats"],
        &["stats", "--json"],
        &["show", &id],
        &["show", &id, "--reveal", "--by", HOSTILE],
        &["show", &id, "--reveal", "--json"],
        &["export", "--by", HOSTILE],
        &["replay", &id, "--dry-run"],
        &["edit", &id, "--body", edited, "--reveal", "--by", HOSTILE],
        &["discard", &id, "--reason", HOSTILE, "--by", HOSTILE],
        &["show", &id],
    ] {
        let output = dead_letters(&app, arguments).run().await;
        assert_output_is_harmless(&format!("{arguments:?}"), &output);
        assert!(arguments[0] == "edit" || output.code == 0, "{arguments:?}: {output:?}");
    }
    let shown = dead_letters(&app, &["show", &id]).run().await.stdout;
    let history = shown.lines().filter(|line| line.starts_with("  20")).count();
    assert_eq!(history, app.history().await.len(), "one line for each entry: {shown}");
    assert!(shown.contains(r"\u001b]52;c;cm0=\u0007"), "it is shown, escaped: {shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_programs_are_printed_escaped_and_on_one_line() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut tail = app.command(&["events", "tail", "--count", "2"]).start();
    tail.until_log("waiting for events").await;
    let event = serde_json::to_string_pretty(&json!({ "subject": HOSTILE })).unwrap();
    for body in [event.as_bytes(), HOSTILE.as_bytes()] {
        app.publish_to(&app.topology.events(), "any", body, BasicProperties::default()).await;
    }
    assert_eq!(tail.ended().await, 0);
    let printed = tail.log();
    assert_harmless("events", &printed);
    let lines: Vec<_> = printed.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{printed}");
    let parsed: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(parsed["subject"], HOSTILE, "the same value");
    app.finish_with_leftovers().await;
}
