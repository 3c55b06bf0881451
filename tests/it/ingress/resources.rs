//! Clients that try to use up connections, time or memory: valid posts are answered meanwhile.

use std::time::Duration;

use banklink::ingress::Limits;
use futures_util::future::join_all;
use serde_json::json;
use testkit::raw_http::{
    REQUEST_HEAD, assert_continue, assert_valid_posts_are_accepted, read_to_end, send, signed_post, statuses_for,
};
use testkit::waiting::{eventually, until, within};
use testkit::{On, TestApp};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_and_slow_headers_are_cut_off() {
    let mut limits = Limits::default();
    limits.server.headers_deadline = Duration::from_secs(2);
    let app = TestApp::builder(On::Sqlite).ingress_only().ingress_limits(limits).build().await;
    let silent = async { read_to_end(&mut send(&app.url, "").await).await };
    let answered_once = statuses_for(&app.url, signed_post("{}"));
    let slow_headers = async || {
        let mut stream = send(&app.url, REQUEST_HEAD).await;
        eventually("a closed connection", async || stream.write_all(b"x-slow: loris\r\n").await.err()).await;
    };
    let many_slow = join_all((0..50).map(|_| slow_headers()));
    let valid_posts = async {
        let mut interval = tokio::time::interval(Duration::from_millis(500));
        loop {
            interval.tick().await;
            assert_valid_posts_are_accepted(&app.url).await;
        }
    };
    let (silent, answered) = tokio::select! {
        (silent, answered, _) = async { tokio::join!(silent, answered_once, many_slow) } => (silent, answered),
        () = valid_posts => unreachable!("it never ends"),
    };
    assert_eq!(silent, "");
    assert_eq!(answered, ["200"]);
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answers_is_not_read_from() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let requests = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let mut stream = send(&app.url, &requests).await;
    let stuck = loop {
        match tokio::time::timeout(Duration::from_millis(500), stream.write_all(requests.as_bytes())).await {
            Ok(Ok(())) => {}
            broken_or_stuck => break broken_or_stuck.is_err(),
        }
    };
    drop(stream);
    assert!(stuck, "the ingress stops reading when its answers are not read");
    assert_valid_posts_are_accepted(&app.url).await;
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_share_a_budget_and_leave_room_for_small_ones() {
    let app = TestApp::builder(On::Sqlite).ingress_only().max_body_bytes(16_000_000).build().await;
    let head = format!("{REQUEST_HEAD}content-length: 1000000\r\nexpect: 100-continue\r\n\r\n");
    let mut large = Vec::new();
    for _ in 0..16 {
        let mut stream = send(&app.url, &head).await;
        assert_continue(&mut stream).await;
        within(stream.write_all(&[b'x'; 100_000])).await.unwrap();
        large.push(stream);
    }
    // The next one is refused as soon as the others have been read so far.
    let refused = eventually("a refusal", async || {
        let signed = app.post_bytes(json!({ "large": "x".repeat(100_000) }).to_string().as_bytes()).await;
        (signed.status == 503).then_some(signed)
    });
    refused.await.assert_refused(503);
    // Its sender still writes when it is refused, and sees the answer nevertheless.
    let head = format!("{REQUEST_HEAD}connection: close\r\ncontent-length: 6000000\r\n\r\n");
    assert_eq!(statuses_for(&app.url, [head.as_bytes(), &[b'x'; 6_000_000]].concat()).await, ["503"]);
    assert_valid_posts_are_accepted(&app.url).await;

    drop(large);
    until("an accepted large body", async || app.post_bytes(&[b' '; 100_000]).await.status == 200).await;
    app.finish_with_leftovers().await;
}
