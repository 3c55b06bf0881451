//! Ingress and read API at their limits of connections, open files and waiting requests. These tests change the limits of their own process and open
//! thousands of sockets, so they have a program of their own. `make test` runs it.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::app::{API_TOKEN, ApiClient};
use testkit::process::{Running, metric, until_answers};
use testkit::raw_http::{REQUEST_HEAD, assert_valid_posts_are_accepted, is_open, read_to_end, send};
use testkit::waiting::{eventually, until, within};
use testkit::{On, TestApp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other test of this program runs, and lets this process hold the other ends of more than ten thousand connections.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE_TEST: Mutex<()> = Mutex::const_new(());
    let files = getrlimit(Resource::Nofile).maximum;
    let raised = setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files });
    assert!(raised.is_ok(), "{raised:?}");
    assert!(files.is_none_or(|files| files > 11_000), "the limit of {files:?} open files is too low for this test");
    ONE_TEST.lock().await
}

/// Opens a stream of a customer's events, and returns once the snapshot has arrived. Tries again when refused: the database of a busy machine
/// may take longer than a request waits for it.
async fn event_stream(api: &ApiClient, customer: &str) -> TcpStream {
    let head = format!("GET /v1/customers/{customer}/bank-links/events HTTP/1.1\r\nhost: x\r\n");
    eventually("a stream of events", async || {
        let mut stream = send(&api.origin, format!("{head}authorization: Bearer {API_TOKEN}\r\n\r\n")).await;
        let mut received = String::new();
        // To the end of the chunk, so that nothing of it arrives later.
        let is_snapshot = |received: &str| received.contains("event: snapshot") && received.ends_with("\n\r\n");
        while !is_snapshot(&received) && !received.starts_with("HTTP/1.1 503") {
            let mut buffer = [0; 1024];
            let read = within(stream.read(&mut buffer)).await.unwrap_or(0);
            assert_ne!(read, 0, "closed or broken after {received:?}");
            received.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        is_snapshot(&received).then_some(stream)
    })
    .await
}

/// Starts the ingress as a process under a limit of open files.
async fn ingress_limited(app: &TestApp, ulimit: &'static str) -> (Running, String) {
    let ingress = app.role("ingress").limited(ulimit).start();
    let url = ingress.url().await;
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    (ingress, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_posts_are_accepted_beside_ten_thousand_idle_connections() {
    const CONNECTIONS: usize = 10_000;
    let _alone = alone().await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let (mut ingress, url) = ingress_limited(&app, "-n").await;
    let half_a_body = format!("{REQUEST_HEAD}content-length: 100000\r\n\r\n{}", "x".repeat(1_000));
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        idle.push(send(&url, ["", REQUEST_HEAD, &half_a_body][number % 3]).await);
    }
    assert_valid_posts_are_accepted(&url).await;
    // Only connections past their deadline were closed.
    let open = idle.iter().filter(|stream| is_open(stream)).count();
    assert!(open > CONNECTIONS / 2, "{open} of {CONNECTIONS} are open");
    drop(idle);
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_of_connections_the_one_longest_without_a_complete_request_is_closed() {
    let _alone = alone().await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let (mut ingress, url) = ingress_limited(&app, "-n 300").await;
    ingress.until_log("the limit on open files lowers").await;
    let mut half_a_request = send(&url, format!("{REQUEST_HEAD}content-length: 10\r\n\r\n")).await;
    let mut idle = Vec::new();
    for number in 0..400 {
        idle.push(send(&url, if number % 2 == 0 { "" } else { REQUEST_HEAD }).await);
    }
    assert_valid_posts_are_accepted(&url).await;
    assert_eq!(read_to_end(&mut half_a_request).await, "", "closed without an answer");
    assert_eq!(read_to_end(&mut idle[0]).await, "", "closed without an answer");
    assert!(is_open(idle.last().unwrap()), "the newest connections stay open");
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    drop(idle);
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

/// Sends bodies that never end, a little at a time, over one connection after the other.
async fn post_slowly(url: &str) {
    loop {
        let mut stream = send(url, format!("{REQUEST_HEAD}content-length: 200000\r\n\r\n")).await;
        let mut interval = tokio::time::interval(Duration::from_millis(100));
        while stream.write_all(&[b'x'; 700]).await.is_ok() {
            interval.tick().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_on_more_connections_than_there_are_places_do_not_lock_honest_posts_out() {
    let _alone = alone().await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut ingress = app.role("ingress").env("BANKLINK_MAX_CONNECTIONS", "150").start();
    let url = ingress.url().await;
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    let attack = join_all((0..400).map(|_| post_slowly(&url)));
    tokio::select! {
        () = assert_valid_posts_are_accepted(&url) => {}
        _ = attack => unreachable!("it never ends"),
    }
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_may_wait_to_be_accepted() {
    let _alone = alone().await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let (mut ingress, url) = ingress_limited(&app, "-n").await;
    let somaxconn: usize = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    assert!(somaxconn > 2_000, "the kernel's own limit, {somaxconn}, is too low for this test");
    // A stopped process accepts nothing. The kernel completes as many connections as the backlog holds.
    ingress.signal("STOP").await;
    let mut waiting = Vec::new();
    for _ in 0..2_000 {
        waiting.push(send(&url, "").await);
    }
    ingress.signal("CONT").await;
    assert_valid_posts_are_accepted(&url).await;
    drop(waiting);
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ingress_raises_its_soft_limit_of_open_files_to_the_hard_limit() {
    let _alone = alone().await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let (mut ingress, url) = ingress_limited(&app, "-Sn 100").await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(send(&url, "").await);
    }
    assert_valid_posts_are_accepted(&url).await;
    assert!(is_open(&idle[0]), "no connection had to be closed");
    drop(idle);
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_may_wait_and_one_more_is_refused() {
    const REQUESTS: usize = 10_000;
    let _alone = alone().await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut process = app.api_process().start();
    let (admin, api) = (process.admin().await, ApiClient::at(&process.api().await));
    process.until_log("hearing of changes by events").await;
    // Streams, because they wait as long as this takes.
    let opening = stream::iter(0..REQUESTS).map(async |number| event_stream(&api, &number.to_string()).await);
    let streams: Vec<_> = opening.buffer_unordered(100).collect().await;
    let waiting = async || metric(&admin, "banklink_api_waiting").await == Some(REQUESTS as f64);
    until("ten thousand waiting requests", waiting).await;
    api.answer("/v1/customers/one-more/bank-links?wait=60s").await.assert_refused(503);
    assert_eq!(api.list("one-more", "").await["bank_links"], serde_json::json!([]));
    let megabytes = process.resident_megabytes();
    // A debug build takes more than a release, which `make bench` measures.
    assert!(megabytes < 250, "{megabytes} MB");
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    drop(streams);
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_is_not_the_connection_that_gives_way() {
    let _alone = alone().await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut process = app.api_process().limited("-n 300").start();
    let api = ApiClient::at(&process.api().await);
    until_answers(&process.admin().await, "/readyz/api", 200).await;
    let stream = event_stream(&api, "c").await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(send(&api.origin, "").await);
    }
    // They have pushed each other out, and those who ask still get an answer.
    assert_eq!(api.list("c", "").await["bank_links"], serde_json::json!([]));
    assert_eq!(read_to_end(&mut idle[0]).await, "", "closed without an answer");
    assert!(is_open(&stream));
    drop((idle, stream));
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish_with_leftovers().await;
}
