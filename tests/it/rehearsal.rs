//! `banklink events rehearse`: made-up events for one queue, and what a correct subscriber holds after them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testkit::process::Output;
use testkit::published::assert_valid_event;
use testkit::{On, TestApp};

/// An app with a queue of a subscriber that is bound to nothing that is published.
async fn app_with_queue() -> (TestApp, String) {
    let app = TestApp::start(On::Sqlite).await;
    app.subscribe("rehearsed", &app.topology.events(), "never").await;
    let queue = app.queue("rehearsed");
    (app, queue)
}

async fn rehearse(app: &TestApp, arguments: &[&str]) -> Output {
    app.command(&[&["events", "rehearse"], arguments].concat()).run().await
}

fn lines(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a subscriber holds: of each link, the number of events by type, and the data.
type Held = BTreeMap<String, (BTreeMap<String, u64>, Value)>;

/// The state of a subscriber that may remember ids, and may compare revisions.
fn held(events: &[Value], remembers_ids: bool, compares_revisions: bool) -> Held {
    let (mut ids, mut held) = (BTreeSet::new(), Held::new());
    for event in events {
        if !ids.insert(event["id"].as_str().unwrap()) && remembers_ids {
            continue;
        }
        let data = &event["data"];
        let link = held.entry(data["entity_id"].as_str().unwrap().to_owned()).or_default();
        *link.0.entry(event["type"].as_str().unwrap().to_owned()).or_default() += 1;
        if !compares_revisions || link.1.is_null() || data["revision"].as_i64() >= link.1["revision"].as_i64() {
            link.1 = data.clone();
        }
    }
    held
}

fn expected(printed: &[Value]) -> Held {
    let counts = |link: &Value| serde_json::from_value(link["events"].clone()).unwrap();
    printed
        .iter()
        .map(|link| (link["entity_id"].as_str().unwrap().to_owned(), (counts(link), link["data"].clone())))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correct_subscriber_holds_what_is_printed_and_a_careless_one_does_not() {
    let (app, queue) = app_with_queue().await;
    let output = rehearse(&app, &["--queue", &queue, "--id", "r1"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let printed = lines(&output);
    let mut events = Vec::new();
    for _ in 0..40 {
        let message = app.next_message("rehearsed").await;
        let event: Value = serde_json::from_slice(&message.data).unwrap();
        assert_valid_event(&event);
        let (properties, mark) = (&message.properties, json!("r1"));
        let header =
            properties.headers().as_ref().unwrap().inner()["x-rehearsal"].as_long_string().unwrap().to_string();
        assert_eq!((&event["rehearsal"], header.as_str()), (&mark, "r1"));
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), event["id"]);
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), event["type"]);
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
        events.push(event);
    }
    assert_eq!(app.ready_messages(&queue).await, 0);
    assert_eq!(held(&events, true, true), expected(&printed));
    assert_ne!(held(&events, false, true), expected(&printed), "repeats must be noticed");
    assert_ne!(held(&events, true, false), expected(&printed), "reordered revisions must be noticed");
    // Nothing went to the other subscribers: dropping the app checks it.
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_the_same_and_sends_nothing() {
    let (app, queue) = app_with_queue().await;
    let dry = rehearse(&app, &["--queue", &queue, "--id", "r1", "--count", "2", "--dry-run", "--json"]).await;
    assert_eq!((dry.code, lines(&dry).len()), (0, 2), "{dry:?}");
    assert_eq!(app.ready_messages(&queue).await, 0);
    let sent = rehearse(&app, &["--queue", &queue, "--id", "r1", "--count", "2"]).await;
    assert_eq!(sent.stdout, dry.stdout);
    for _ in 0..20 {
        app.next_message("rehearsed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_existing_queue_of_a_subscriber_is_sent_to() {
    let (app, queue) = app_with_queue().await;
    let missing = rehearse(&app, &["--queue", "it-no-such-queue"]).await;
    assert_eq!((missing.code, missing.stdout.as_str()), (1, ""), "{missing:?}");
    assert!(missing.stderr.contains("there is no queue it-no-such-queue"), "{}", missing.stderr);
    for own in ["webhooks", "webhooks.dead", "webhooks.retry.100ms", "events.log"] {
        let refused = rehearse(&app, &["--queue", &app.queue(own)]).await;
        assert!(refused.code == 2 && refused.stderr.contains("own queue"), "{own}: {refused:?}");
    }
    let endless = rehearse(&app, &["--queue", &queue, "--count", "1001"]).await;
    assert_eq!(endless.code, 2, "{endless:?}");
}
