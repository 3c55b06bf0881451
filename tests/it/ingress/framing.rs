//! Requests whose framing is wrong: no body that differs from the signed one is accepted, and valid posts are answered.

use testkit::raw_http::{
    REQUEST_HEAD, assert_valid_posts_are_accepted, read_to_end, send, signed_post, statuses, statuses_for,
};
use testkit::waiting::within;
use testkit::{On, SECRET, TestApp, fixtures};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn too_many_or_too_large_headers_are_refused() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let large = format!("x-large: {}\r\n", "y".repeat(40_000));
    for headers in [many, large] {
        assert_eq!(statuses_for(&app.url, format!("{REQUEST_HEAD}{headers}\r\n")).await, ["431"]);
    }
    // A header name without an end: the ingress closes the connection before it has taken 64 MiB, far more than all buffers
    // between the two sockets hold.
    let mut endless = send(&app.url, format!("{REQUEST_HEAD}x-")).await;
    let mebibyte = vec![b'y'; 1024 * 1024];
    let taken = async {
        for mebibytes in 0..64 {
            if endless.write_all(&mebibyte).await.is_err() {
                return mebibytes;
            }
        }
        64
    };
    assert!(within(taken).await < 64, "the connection is closed");
    assert_valid_posts_are_accepted(&app.url).await;
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_a_wrong_length_is_never_accepted() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let signed = format!("{REQUEST_HEAD}lean-signature: {}\r\n", fixtures::signature(SECRET, b"0123456789"));
    for (framing, expected) in [
        // Only half of the signed body is read, and the rest is not a request.
        ("content-length: 5\r\n\r\n0123456789\r\n\r\n", ["401", "400"].as_slice()),
        ("content-length: 10\r\ncontent-length: 5\r\n\r\n0123456789", &["400"]),
        ("content-length: -10\r\n\r\n0123456789", &["400"]),
        ("content-length: 99999999999999999999999\r\n\r\n0123456789", &["400"]),
        ("transfer-encoding: chunked\r\n\r\nzz\r\n0123456789", &["400"]),
        ("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n0123456789", &["400"]),
        ("transfer-encoding: chunked\r\n\r\n5\r\n0123456789\r\n0\r\n\r\n", &["400"]),
        ("transfer-encoding: chunked, gzip\r\n\r\n0123456789", &["400"]),
        ("transfer-encoding: gzip\r\n\r\n0123456789", &["400"]),
    ] {
        assert_eq!(statuses_for(&app.url, format!("{signed}{framing}")).await, expected, "{framing}");
    }
    // The client closes the connection before the announced length is complete.
    let mut stream = send(&app.url, format!("{signed}content-length: 11\r\n\r\n0123456789")).await;
    stream.shutdown().await.unwrap();
    assert!(!read_to_end(&mut stream).await.contains(" 200 "));
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 0, "nothing was accepted");

    // With two lengths, the chunks count. Whatever a proxy in front made of it, the signature covers what was read.
    let both = "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
    let statuses = statuses_for(&app.url, format!("{signed}{both}")).await;
    if statuses == ["200"] {
        assert_eq!(app.next_message("webhooks").await.data, b"0123456789");
    } else {
        assert_eq!(statuses, ["400"]);
    }
    assert_valid_posts_are_accepted(&app.url).await;
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_after_valid_posts_on_the_same_connection_does_not_affect_them() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let post = signed_post(&fixtures::seed().to_string());
    let mut stream = send(&app.url, format!("{post}{post}\0\x16\x03garbage\r\n\r\n")).await;
    assert_eq!(statuses(&read_to_end(&mut stream).await), ["200", "200", "400"]);
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 2);
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_asks_first_is_refused_at_once_if_its_body_is_too_large() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let head = format!("{REQUEST_HEAD}content-length: 99000000\r\nexpect: 100-continue\r\n\r\n");
    let answer = read_to_end(&mut send(&app.url, head).await).await;
    assert_eq!(statuses(&answer), ["413"], "and no interim answer: {answer}");
    app.finish_with_leftovers().await;
}
