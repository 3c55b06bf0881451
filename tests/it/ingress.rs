//! Every row of the table of answers, and what reaches the broker.

use banklink::ingress::{Senders, parse_networks};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::app::{Answer, On, Recipe, SECRET, TestApp, channel};
use crate::fixtures;

/// An ingress alone: what it takes in stays on the queue.
fn ingress_alone() -> Recipe {
    Recipe { workers: 0, relays: 0, ..Recipe::on(On::Sqlite) }
}

/// Sends bytes as they are, and reads the answer.
async fn speak(app: &TestApp, request: &[u8]) -> String {
    let address = app.url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_webhook_is_on_the_queue_byte_for_byte() {
    let app = ingress_alone().start().await;
    let body = b"{ \"type\" :\t\"entity.created\", \"odd\": \"\xd8\xa8\xf0\x9f\x8f\xa6\" }\n";
    let id = app.post_bytes(body).await.assert_accepted();

    let message = app.next_message("webhooks").await;
    assert_eq!(message.data, body);
    assert_eq!((message.routing_key.as_str(), message.exchange.as_str()), ("lean", app.topology.webhooks().as_str()));
    let properties = message.properties;
    assert_eq!(properties.message_id().as_ref().map(ToString::to_string), Some(id.to_string()));
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(properties.app_id().as_ref().map(ToString::to_string).as_deref(), Some("banklink"));
    assert!(properties.timestamp().is_some() && properties.content_type().is_some());
    let headers = properties.headers().clone().unwrap();
    let text = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("x-source"), "lean");
    let received_at = text("x-received-at");
    assert!(received_at.ends_with('Z') && received_at.len() == "2026-05-12T14:34:40.391243281Z".len(), "{received_at}");
    assert_eq!(headers.inner().get("x-attempt"), Some(&AMQPValue::LongLongInt(1)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_refused() {
    let app = ingress_alone().start().await;
    let elsewhere = app.url.replace("/webhooks/lean", "/webhooks");
    Answer::read(app.http.post(elsewhere).send().await.unwrap()).await.assert_refused(404);
    let answer = Answer::read(app.http.get(&app.url).send().await.unwrap()).await;
    answer.assert_refused(405);
    assert_eq!(answer.headers["allow"], "POST");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_not_allowed_is_refused_before_anything_else() {
    let senders =
        Senders { allowed: parse_networks("203.0.113.0/24").unwrap(), trusted: parse_networks("127.0.0.1").unwrap() };
    let app = Recipe { senders, max_in_flight: 0, ..ingress_alone() }.start().await;
    app.post(&fixtures::seed()).await.assert_refused(403);
    let forwarded = app.http.post(&app.url).header("x-forwarded-for", "203.0.113.7").send().await.unwrap();
    Answer::read(forwarded).await.assert_refused(503);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_in_flight_are_refused_at_once_even_if_too_large() {
    let app = Recipe { max_in_flight: 0, max_body_bytes: 10, ..ingress_alone() }.start().await;
    let answer = app.post(&fixtures::seed()).await;
    answer.assert_refused(503);
    assert_eq!(answer.headers["retry-after"], "5");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_announced_or_chunked() {
    let app = Recipe { max_body_bytes: 1000, ..ingress_alone() }.start().await;
    app.post_bytes(&[b' '; 1001]).await.assert_refused(413);
    app.post_bytes(&vec![b' '; 3_000_000]).await.assert_refused(413);
    app.post_bytes(&[b' '; 1000]).await.assert_accepted();

    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    let request =
        format!("POST /webhooks/lean HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let answer = speak(&app, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_is_cut_off() {
    let app = ingress_alone().start().await;
    let answer = speak(&app, b"POST /webhooks/lean HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_is_refused_before_its_signature() {
    let app = ingress_alone().start().await;
    app.post_signed(b"", "nonsense").await.assert_refused(400);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrongly_signed_gets_one_answer_and_touches_no_queue() {
    let app = ingress_alone().start().await;
    let body = fixtures::seed().to_string();
    let unsigned = app.http.post(&app.url).body(body.clone()).send().await.unwrap();
    let unsigned = Answer::read(unsigned).await;
    unsigned.assert_refused(401);
    let other_body = fixtures::signature(SECRET, b"another body");
    let other_secret = fixtures::signature("another secret", body.as_bytes());
    for signature in ["nonsense", "sha512=00", &other_body, &other_secret] {
        let answer = app.post_signed(body.as_bytes(), signature).await;
        answer.assert_refused(401);
        assert_eq!(answer.body, unsigned.body, "one answer for all");
    }
    assert_eq!(app.ready(&app.topology.webhooks()).await + app.ready(&app.topology.dead()).await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_of_the_secrets_any_case_of_hex_and_any_content_type_are_accepted() {
    let app = Recipe { keys: "old-secret,new-secret", ..ingress_alone() }.start().await;
    let body = fixtures::seed().to_string();
    for secret in ["old-secret", "new-secret"] {
        let signature = fixtures::signature(secret, body.as_bytes());
        app.post_signed(body.as_bytes(), &signature).await.assert_accepted();
        let upper = format!("sha512={}", signature.trim_start_matches("sha512=").to_uppercase());
        let request = app.http.post(&app.url).header("lean-signature", upper).header("content-type", "text/vnd.odd");
        Answer::read(request.body(body.clone()).send().await.unwrap()).await.assert_accepted();
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_finishes_what_is_under_way_and_refuses_what_is_new() {
    let app = ingress_alone().start().await;
    let address = app.url.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
    let body = fixtures::seed().to_string();
    let signature = fixtures::signature(SECRET, body.as_bytes());
    let head = format!(
        "POST /webhooks/lean HTTP/1.1\r\nhost: x\r\nlean-signature: {signature}\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut under_way = TcpStream::connect(&address).await.unwrap();
    under_way.write_all(head.as_bytes()).await.unwrap();
    // The interim answer says that the request is being handled.
    let mut interim = [0; 25];
    under_way.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{interim:?}");

    app.stop_ingress();
    under_way.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_queue_to_hold_it_a_webhook_is_refused_until_the_queues_are_back() {
    let app = ingress_alone().start().await;
    for queue in [app.topology.webhooks(), app.topology.dead()] {
        app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
    app.post(&fixtures::seed()).await.assert_refused(503);
    crate::waiting::eventually("the queues declared anew", async || {
        (app.post(&fixtures::seed()).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(app.next_message("webhooks").await.data, fixtures::seed().to_string().as_bytes());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_work_queue_loses_nothing_that_was_answered_200() {
    let app = ingress_alone().start().await;
    app.channel.queue_delete(app.topology.webhooks().as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        app.post(&fixtures::created(*entity)).await.assert_accepted();
    }
    app.start_worker();
    let letters = app.until_dead(entities.len()).await;
    assert!(letters.iter().all(|letter| letter.failure_class == "unrouted"), "{letters:?}");
    let mut kept: Vec<_> = letters.iter().filter_map(|letter| letter.entity_id).collect();
    let mut sent = entities;
    kept.sort();
    sent.sort();
    assert_eq!(kept, sent);
    app.assert_nothing_left_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_a_503_and_another_number_than_ours_is_used_as_it_is() {
    let recipe = ingress_alone();
    let mut arguments = FieldTable::default();
    let dead = format!("{}.webhooks.dead", recipe.namespace);
    for (name, value) in [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-dead-letter-exchange", AMQPValue::LongString(dead.as_str().into())),
        ("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into())),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ("x-delivery-limit", AMQPValue::LongLongInt(7)),
        ("x-max-length", AMQPValue::LongLongInt(3)),
    ] {
        arguments.insert(name.into(), value);
    }
    let queue = format!("{}.webhooks", recipe.namespace);
    channel().await.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();

    let app = recipe.start().await;
    let mut statuses: Vec<u16> = Vec::new();
    for _ in 0..20 {
        statuses.push(app.post(&fixtures::seed()).await.status);
    }
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)) && accepted < 20, "{statuses:?}");
    assert_eq!(app.ready(&app.topology.webhooks()).await as usize, accepted, "what was refused is not there");
    app.finish().await;
}
