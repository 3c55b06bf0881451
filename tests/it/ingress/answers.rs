//! Every status code of the ingress.

use std::time::Duration;

use banklink::ingress::{Limits, Senders, parse_networks};
use testkit::http::Answer;
use testkit::raw_http::{REQUEST_HEAD, read_to_end, send, statuses_for};
use testkit::{On, SECRET, TestApp, fixtures};

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_refused() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let elsewhere = app.url.replace("/webhooks/lean", "/webhooks");
    Answer::read(app.http.post(elsewhere).send().await.unwrap()).await.assert_refused(404);
    let answer = Answer::read(app.http.get(&app.url).send().await.unwrap()).await;
    answer.assert_refused(405);
    assert_eq!(answer.headers["allow"], "POST");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_not_allowed_is_refused_before_any_other_check() {
    let senders =
        Senders { allowed: parse_networks("203.0.113.0/24").unwrap(), trusted: parse_networks("127.0.0.1").unwrap() };
    let app = TestApp::builder(On::Sqlite).ingress_only().senders(senders).max_in_flight(0).build().await;
    app.post(&fixtures::seed()).await.assert_refused(403);
    let forwarded = app.http.post(&app.url).header("x-forwarded-for", "203.0.113.7").send().await.unwrap();
    Answer::read(forwarded).await.assert_refused(503);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_unconfirmed_publishes_are_refused_before_the_size_check() {
    let app = TestApp::builder(On::Sqlite).ingress_only().max_in_flight(0).max_body_bytes(10).build().await;
    let answer = app.post(&fixtures::seed()).await;
    answer.assert_refused(503);
    assert_eq!(answer.headers["retry-after"], "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_with_and_without_content_length() {
    let app = TestApp::builder(On::Sqlite).ingress_only().max_body_bytes(1000).build().await;
    app.post_bytes(&[b' '; 1001]).await.assert_refused(413);
    app.post_bytes(&vec![b' '; 3_000_000]).await.assert_refused(413);
    app.post_bytes(&[b' '; 1000]).await.assert_accepted();

    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    let request =
        format!("{REQUEST_HEAD}connection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert_eq!(statuses_for(&app.url, request).await, ["413"]);
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_in_time_is_refused() {
    let limits = Limits { body_deadline: Duration::from_millis(500), ..Limits::default() };
    let app = TestApp::builder(On::Sqlite).ingress_only().ingress_limits(limits).build().await;
    let mut stream = send(&app.url, format!("{REQUEST_HEAD}content-length: 10\r\n\r\nhalf")).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_is_refused_before_the_signature_check() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    app.post_signed(b"", "nonsense").await.assert_refused(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_signature_gets_the_same_answer_and_publishes_nothing() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let body = fixtures::seed().to_string();
    let unsigned = app.http.post(&app.url).body(body.clone()).send().await.unwrap();
    let unsigned = Answer::read(unsigned).await;
    unsigned.assert_refused(401);
    let other_body = fixtures::signature(SECRET, b"another body");
    let other_secret = fixtures::signature("another secret", body.as_bytes());
    for signature in ["nonsense", "sha512=00", &other_body, &other_secret] {
        let answer = app.post_signed(body.as_bytes(), signature).await;
        answer.assert_refused(401);
        assert_eq!(answer.body, unsigned.body, "the same answer for every wrong signature");
    }
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await + app.ready_messages(&app.topology.dead()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_secret_both_cases_of_hex_and_any_content_type_are_accepted() {
    let app = TestApp::builder(On::Sqlite).ingress_only().keys("an-old-secret-16,a-new-secret-016").build().await;
    let body = fixtures::seed().to_string();
    for secret in ["an-old-secret-16", "a-new-secret-016"] {
        let signature = fixtures::signature(secret, body.as_bytes());
        app.post_signed(body.as_bytes(), &signature).await.assert_accepted();
        let upper = format!("sha512={}", signature.trim_start_matches("sha512=").to_uppercase());
        let request = app.http.post(&app.url).header("lean-signature", upper).header("content-type", "text/vnd.odd");
        Answer::read(request.body(body.clone()).send().await.unwrap()).await.assert_accepted();
    }
    app.finish_with_leftovers().await;
}
