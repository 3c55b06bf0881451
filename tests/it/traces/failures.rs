//! Failed, retried, dead and replayed webhooks stay in their trace, and failed spans say so.

use lapin::options::QueueDeleteOptions;
use lapin::types::{AMQPValue, FieldTable};
use rstest::rstest;
use serde_json::{Value, json};
use testkit::otlp::{ReceivedSpan, Receiver};
use testkit::process::until_answers;
use testkit::waiting::eventually;
use testkit::{On, SECRET, TestApp, fixtures};
use uuid::Uuid;

use super::{SENDER, TRACE, post, post_in_trace, traced, until_span};

const SQLITE_TRIGGER: &str = "CREATE TRIGGER refuse BEFORE INSERT ON bank_links BEGIN SELECT RAISE(ABORT, 'x'); END";

/// The log line that contains `text`.
async fn log_line(log: impl Fn() -> String, text: &str) -> Value {
    let find = async || log().lines().find(|line| line.contains(text)).map(str::to_owned);
    serde_json::from_str(&eventually(text, find).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_the_death_and_the_replay_are_in_the_trace_of_the_webhook() {
    let app = TestApp::builder(On::Postgres).workers(0).relays(0).build().await;
    let receiver = Receiver::start().await;
    let mut running = traced(app.all_roles(), &receiver.endpoint).start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    let (url, entity, ns) = (running.url().await, Uuid::new_v4(), &app.namespace);
    let id = post(&url, &fixtures::reconnected(entity, "2026-06-01T00:00:00Z").to_string(), "01").await;
    app.until_dead(1).await;
    // The link appears, in a trace of its own, and the letter is replayed by a process that makes no spans.
    let created = fixtures::created(entity).to_string();
    let (status, _) = post_in_trace(&url, SECRET, &created, "none").await;
    assert_eq!(status, 200);
    app.next_message("subscriber").await;
    let replay = app.command(&["dead-letters", "replay", &id]).run().await;
    assert_eq!(replay.code, 0, "{replay:?}");
    app.next_message("subscriber").await;
    assert_eq!(running.terminate().await, 0, "{}", running.log());

    let spans = receiver.spans();
    let of_trace: Vec<&ReceivedSpan> = spans.iter().filter(|span| span.trace_id == TRACE).collect();
    let others = spans.iter().filter(|span| span.trace_id != TRACE);
    let roots = others.filter(|span| span.parent_id.is_empty()).map(|span| span.name.as_str());
    assert_eq!(roots.collect::<Vec<_>>(), ["POST /webhooks/lean"], "the webhook without a trace began one");

    let (work, dead) = (format!("process {ns}.webhooks"), format!("process {ns}.webhooks.dead"));
    let processed = |name: &str| of_trace.iter().filter(|span| span.name == name).copied().collect::<Vec<_>>();
    let (attempts, recorded) = (processed(&work), processed(&dead));
    let came_to: Vec<_> = attempts
        .iter()
        .map(|span| {
            (span.attribute("banklink.attempt").as_u64(), span.attribute("banklink.outcome").as_str(), span.is_error)
        })
        .collect();
    let (retried, died) = (Some("retried"), Some("dead"));
    let expected =
        [(Some(1), retried, true), (Some(2), retried, true), (Some(3), died, true), (Some(1), Some("applied"), false)];
    assert_eq!(came_to, expected);
    let failed = &attempts[..3];
    assert!(
        failed.iter().all(|span| *span.attribute("error.type") == json!("unknown_entity") && span.message.is_empty())
    );
    assert!(attempts.iter().all(|span| *span.attribute("messaging.message.id") == json!(id)));

    // Each copy is published in the span that failed, and processed in the copy's.
    let published = |name: &str| {
        let name = format!("publish {ns}.webhooks{name}");
        of_trace.iter().find(|span| span.name == name).copied().unwrap_or_else(|| panic!("{name}: {of_trace:?}"))
    };
    let copies = [published(".retry:100ms"), published(".retry:200ms"), published(".dead:lean")];
    for (at, copy) in copies.iter().enumerate() {
        assert!(copy.is_child_of(attempts[at]) && !copy.is_error);
    }
    assert_eq!(recorded.len(), 1);
    for (copy, next) in copies.iter().zip([attempts[1], attempts[2], recorded[0]]) {
        assert!(next.is_child_of(copy) && next.is_linked_to(copy), "{next:?}");
    }
    assert!(
        attempts[3].is_child_of(recorded[0]) && attempts[3].is_linked_to(recorded[0]),
        "the replay goes on from there"
    );
    assert!(of_trace.iter().any(|span| span.name == "insert dead_letters" && span.is_child_of(recorded[0])));

    for text in ["a webhook failed and will be retried", "a webhook is dead"] {
        let line = log_line(|| running.log(), text).await;
        let ids = [&line["trace.id"], &line["message.id"], &line["bank_link.entity_id"]];
        assert_eq!(ids, [&json!(TRACE), &json!(id), &json!(entity)], "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_answered_503_is_a_failed_span_and_an_unsigned_one_is_none() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let receiver = Receiver::start().await;
    let mut ingress = traced(app.role("ingress"), &receiver.endpoint).start();
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    let (url, body) = (ingress.url().await, fixtures::seed().to_string());
    let traceparent = format!("00-{TRACE}-{SENDER}-01");
    for _ in 0..3 {
        assert_eq!(post_in_trace(&url, "a-secret-of-a-stranger", &body, &traceparent).await.0, 401);
    }
    for queue in [app.topology.webhooks(), app.topology.dead()] {
        app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
    assert_eq!(post_in_trace(&url, SECRET, &body, &traceparent).await.0, 503);
    let line = log_line(|| ingress.log(), "rejected a webhook with 503").await;
    assert_eq!(line["trace.id"], json!(TRACE), "{line}");
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());

    let spans = receiver.spans();
    let [request, publish] = &*spans else { panic!("{spans:?}") };
    assert!(request.is_error && publish.is_error && publish.is_child_of(request), "{spans:?}");
    assert_eq!(
        [request.attribute("http.response.status_code"), request.attribute("error.type")],
        [&json!(503), &json!("503")]
    );
    assert_eq!(*publish.attribute("error.type"), json!("returned"));
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_a_failed_span_each_time_and_logged_with_its_trace() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    app.subscribe_with("full", &app.topology.events(), "#", arguments).await;
    let receiver = Receiver::start().await;
    let mut running = traced(app.all_roles(), &receiver.endpoint).start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    let entity = Uuid::new_v4();
    post(&running.url().await, &fixtures::created(entity).to_string(), "01").await;

    let name = format!("publish {}.events:customer.bank_linked", app.namespace);
    let refusals = |spans: &[ReceivedSpan]| {
        let refused: Vec<_> = spans.iter().filter(|span| span.name == name).cloned().collect();
        (refused.len() >= 2).then_some(refused)
    };
    let refused = receiver.until("two attempts", refusals).await;
    let process = until_span(&receiver, &format!("process {}.webhooks", app.namespace), "banklink.attempt", 1).await;
    let is_refused = |span: &ReceivedSpan| span.is_error && *span.attribute("error.type") == json!("nacked");
    assert!(refused.iter().all(|span| is_refused(span) && span.is_child_of(&process)), "{refused:?}");
    let line = log_line(|| running.log(), "deferred an event").await;
    assert_eq!([&line["trace.id"], &line["bank_link.entity_id"]], [&json!(TRACE), &json!(entity)], "{line}");
    assert_eq!(running.terminate().await, 0, "{}", running.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_exporter_failures_are_logged_with_the_trace_that_was_received() {
    let app = TestApp::builder(On::Sqlite).workers(0).relays(0).unsubscribed().build().await;
    let mut running = app.all_roles().start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    let id = post(&running.url().await, "{", "01").await;
    let line = log_line(|| running.log(), "a webhook is dead").await;
    assert_eq!([&line["trace.id"], &line["message.id"]], [&json!(TRACE), &json!(id)], "{line}");
    app.until_dead(1).await;
    assert_eq!(running.terminate().await, 0, "{}", running.log());
}

#[rstest]
#[case::sqlite(On::Sqlite, SQLITE_TRIGGER, "1811")]
#[case::postgres(On::Postgres, "ALTER TABLE bank_links ADD CONSTRAINT refuse CHECK (customer_id = 'none')", "23514")]
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_database_refuses_is_a_failed_span_with_the_databases_code(
    #[case] on: On,
    #[case] rule: &str,
    #[case] code: &str,
) {
    let app = TestApp::builder(on).workers(0).relays(0).unsubscribed().build().await;
    app.sql(rule, rule).await;
    let receiver = Receiver::start().await;
    let mut running = traced(app.all_roles(), &receiver.endpoint).start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    post(&running.url().await, &fixtures::created(Uuid::new_v4()).to_string(), "01").await;
    let failed = until_span(&receiver, "upsert bank_links", "error.type", "invalid_row").await;
    assert!(failed.is_error && failed.message.is_empty() && failed.trace_id == TRACE, "{failed:?}");
    assert_eq!(*failed.attribute("db.response.status_code"), json!(code), "{failed:?}");
    assert_eq!(running.terminate().await, 0, "{}", running.log());
    app.finish_with_leftovers().await;
}
