//! One trace follows a webhook from the post to the subscriber.

use std::collections::BTreeSet;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use rstest::rstest;
use serde_json::{Value, json};
use testkit::otlp::{ReceivedSpan, Receiver};
use testkit::process::until_answers;
use testkit::{On, TestApp, amqp_url, fixtures, postgres_url};
use url::Url;
use uuid::Uuid;

use super::{SENDER, TRACE, post, traced, traceparent, until_span};

/// Asserts everything that a span says, apart from its ids and times.
fn assert_span(span: &ReceivedSpan, kind: &str, attributes: &[&Value]) {
    let expected = attributes.iter().flat_map(|some| some.as_object().unwrap().clone()).collect();
    assert_eq!((span.kind.as_str(), &span.attributes), (kind, &expected), "{}", span.name);
    assert!(!span.is_error && span.message.is_empty(), "{span:?}");
}

/// What a span says about the server that it spoke to.
fn server(url: &str) -> Value {
    let url = Url::parse(url).unwrap();
    json!({ "server.address": url.host_str(), "server.port": url.port() })
}

fn messaging(name: &str, kind: &str, destination: &str) -> Value {
    json!({ "messaging.system": "rabbitmq", "messaging.operation.name": name, "messaging.operation.type": kind,
            "messaging.destination.name": destination })
}

fn database(app: &TestApp, on: On) -> Value {
    let mut attributes = json!({ "db.operation.name": "upsert", "db.collection.name": "bank_links" });
    match on {
        On::Sqlite => attributes["db.system.name"] = json!("sqlite"),
        On::Postgres => {
            attributes["db.system.name"] = json!("postgresql");
            attributes["db.namespace"] = json!(app.namespace);
            attributes.as_object_mut().unwrap().extend(server(&postgres_url()).as_object().unwrap().clone());
        }
    }
    attributes
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn one_trace_follows_a_webhook_from_the_post_to_the_subscriber(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).relays(0).build().await;
    let receiver = Receiver::start().await;
    let mut running = traced(app.all_roles(), &receiver.endpoint).start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    let (entity, url, ns) = (Uuid::new_v4(), running.url().await, &app.namespace);
    let body = fixtures::created(entity).to_string();
    let id = post(&url, &body, "01").await;
    let message = app.next_message("subscriber").await;
    assert_eq!(running.terminate().await, 0, "{}", running.log());

    let spans = receiver.spans();
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"));
    let request = named("POST /webhooks/lean");
    let accepted = named(&format!("publish {ns}.webhooks:lean"));
    let process = named(&format!("process {ns}.webhooks"));
    let transaction = named("upsert bank_links");
    let settle = named(&format!("settle {ns}.webhooks"));
    let published = named(&format!("publish {ns}.events:customer.bank_linked"));
    assert_eq!(spans.len(), 6, "waiting and polling make no spans: {spans:?}");

    assert!(spans.iter().all(|span| span.trace_id == TRACE), "{spans:?}");
    assert_eq!(request.parent_id, SENDER);
    assert!(accepted.is_child_of(request) && process.is_child_of(accepted) && process.is_linked_to(accepted));
    assert!(transaction.is_child_of(process) && settle.is_child_of(process) && published.is_child_of(process));
    assert_eq!(traceparent(&message), published.traceparent(), "the subscriber continues the trace");
    let contains =
        |outer: &ReceivedSpan, inner: &ReceivedSpan| outer.times.0 <= inner.times.0 && inner.times.1 <= outer.times.1;
    assert!(contains(request, accepted) && contains(process, transaction) && contains(process, settle));

    let http = json!({ "http.request.method": "POST", "http.route": "/webhooks/lean", "url.path": "/webhooks/lean",
                       "url.scheme": "http", "http.response.status_code": 200 });
    assert_span(request, "SERVER", &[&http]);
    let (broker, size) = (server(&amqp_url()), json!({ "messaging.message.body.size": body.len() }));
    let webhook = json!({ "messaging.message.id": id, "messaging.rabbitmq.destination.routing_key": "lean" });
    let destination = messaging("publish", "send", &format!("{ns}.webhooks:lean"));
    assert_span(accepted, "PRODUCER", &[&destination, &broker, &size, &webhook]);
    let queue = format!("{ns}.webhooks");
    let processed = json!({ "messaging.rabbitmq.message.delivery_tag": 1, "banklink.attempt": 1,
                            "banklink.outcome": "applied", "bank_link.entity_id": entity });
    let destination = messaging("process", "process", &queue);
    assert_span(process, "CONSUMER", &[&destination, &broker, &size, &webhook, &processed]);
    assert_span(transaction, "CLIENT", &[&database(&app, on)]);
    assert_span(settle, "CLIENT", &[&messaging("settle", "settle", &queue), &broker]);
    let event = json!({ "messaging.message.id": message.properties.message_id().as_ref().unwrap().as_str(),
                        "messaging.message.body.size": message.data.len(),
                        "messaging.rabbitmq.destination.routing_key": "customer.bank_linked" });
    let destination = messaging("publish", "send", &format!("{ns}.events:customer.bank_linked"));
    assert_span(published, "PRODUCER", &[&destination, &broker, &event]);

    let resource = &request.resource;
    assert_eq!((&resource["service.name"], &resource["service.version"]), (&json!("banklink"), &json!("0.1.0")));
    assert!(Uuid::parse_str(resource["service.instance.id"].as_str().unwrap()).is_ok(), "{resource:?}");
    assert_eq!(request.scope, ["https://opentelemetry.io/schemas/1.45.0", "banklink", "0.1.0"]);
}

/// A message of another program, in a trace of its own.
fn in_trace(number: u64) -> BasicProperties {
    let mut headers = FieldTable::default();
    let traceparent = format!("00-{number:032x}-{number:016x}-01");
    headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
    BasicProperties::default().with_headers(headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_linked_to_each_of_its_messages_and_they_to_it() {
    const MESSAGES: u64 = 300;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    for number in 1..=MESSAGES {
        let body = fixtures::created(Uuid::new_v4()).to_string();
        app.publish(body.as_bytes(), in_trace(number)).await;
    }
    let receiver = Receiver::start().await;
    let mut worker = traced(app.role("worker"), &receiver.endpoint).start();
    let name = format!("process {}.webhooks", app.namespace);
    let of_messages = |spans: &[ReceivedSpan]| -> Vec<ReceivedSpan> {
        spans.iter().filter(|span| span.attributes.contains_key("messaging.message.id")).cloned().collect()
    };
    let is_whole = |spans: &[ReceivedSpan]| (of_messages(spans).len() == 300).then_some(());
    receiver.until("a span of each message", is_whole).await;
    assert_eq!(worker.terminate().await, 0, "{}", worker.log());

    let spans = receiver.spans();
    let messages = of_messages(&spans);
    assert!(messages.iter().all(|span| span.name == name && span.kind == "CONSUMER"));
    // Each is in the trace of its message, as a child of what published it, and linked to that.
    let published = |span: &ReceivedSpan| (span.trace_id.clone(), span.parent_id.clone());
    assert!(messages.iter().all(|span| span.links.contains(&published(span))));
    let traces: BTreeSet<String> = messages.iter().map(|span| span.trace_id.clone()).collect();
    assert_eq!(traces, (1..=MESSAGES).map(|number| format!("{number:032x}")).collect());

    // Messages that came alone are their own batch; the others are linked to one, which is linked to what published each.
    let count = |span: &ReceivedSpan| span.attribute("messaging.batch.message_count").as_u64();
    let batches: Vec<&ReceivedSpan> = spans.iter().filter(|span| span.name == name && count(span).is_some()).collect();
    assert!(!batches.is_empty(), "a backlog makes batches of several");
    let is_alone = |message: &&ReceivedSpan| !batches.iter().any(|batch| message.is_linked_to(batch));
    let alone = messages.iter().filter(is_alone).count() as u64;
    assert_eq!(batches.iter().filter_map(|batch| count(batch)).sum::<u64>() + alone, MESSAGES);
    for batch in batches {
        assert!(count(batch) > Some(1), "the conventions want no count on the span of one message");
        let members: Vec<&ReceivedSpan> = messages.iter().filter(|message| message.is_linked_to(batch)).collect();
        let expected: BTreeSet<_> = members.iter().map(|message| published(message)).collect();
        assert_eq!((count(batch), batch.links.iter().cloned().collect()), (Some(members.len() as u64), expected));
        assert!(members.iter().any(|first| batch.is_child_of(first)), "sampled with its first message");
        let transaction = spans.iter().find(|span| span.name == "upsert bank_links" && span.is_child_of(batch));
        assert_eq!(transaction.unwrap().attribute("db.operation.batch.size").as_u64(), count(batch));
        assert!(spans.iter().any(|span| span.name.starts_with("settle ") && span.is_child_of(batch)));
    }
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_was_not_sampled_makes_no_spans_and_goes_on_as_it_came() {
    let app = TestApp::builder(On::Sqlite).workers(0).relays(0).build().await;
    let receiver = Receiver::start().await;
    let mut running = traced(app.all_roles(), &receiver.endpoint).start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    let url = running.url().await;
    post(&url, &fixtures::created(Uuid::new_v4()).to_string(), "00").await;
    let message = app.next_message("subscriber").await;
    assert_eq!(traceparent(&message), format!("00-{TRACE}-{SENDER}-00"));
    let id = post(&url, &fixtures::created(Uuid::new_v4()).to_string(), "01").await;
    app.next_message("subscriber").await;
    assert_eq!(running.terminate().await, 0, "{}", running.log());
    until_span(&receiver, &format!("process {}.webhooks", app.namespace), "messaging.message.id", id).await;
    assert_eq!(receiver.spans().len(), 6, "{:?}", receiver.spans());
}
