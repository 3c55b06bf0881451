//! The ingress at its limits of connections and open files. These tests change the limits of their own process and open
//! thousands of sockets, so they have a program of their own. `make test` runs it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::process::{Running, until_answers};
use testkit::raw_http::{REQUEST_HEAD, assert_valid_posts_are_accepted, is_open, read_to_end, send, statuses};
use testkit::{On, TestApp};
use tokio::io::AsyncWriteExt;

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
    // This process holds the other ends.
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
    assert!(files.is_none_or(|files| files > 11_000), "the limit of {files:?} open files is too low for this test");

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
async fn at_the_limit_of_connections_the_oldest_idle_one_is_closed() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let (mut ingress, url) = ingress_limited(&app, "-n 300").await;
    ingress.until_log("the limit on open files lowers").await;
    let mut active = send(&url, format!("{REQUEST_HEAD}content-length: 10\r\n\r\n")).await;
    let mut idle = Vec::new();
    for number in 0..400 {
        idle.push(send(&url, if number % 2 == 0 { "" } else { REQUEST_HEAD }).await);
    }
    assert_valid_posts_are_accepted(&url).await;
    assert_eq!(read_to_end(&mut idle[0]).await, "", "closed without an answer");
    assert!(is_open(idle.last().unwrap()), "the newest connections stay open");
    // A request that has begun is answered, although its connection is the oldest.
    active.write_all(b"0123456789").await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut active).await), ["401"]);
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    drop(idle);
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ingress_raises_its_soft_limit_of_open_files_to_the_hard_limit() {
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
