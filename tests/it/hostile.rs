//! Strangers at the door: whatever they send, or fail to send, honest posts are answered.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{On, Recipe, SECRET, TestApp};
use crate::crashes::role;
use crate::fixtures;
use crate::process::{Running, until_answers};
use crate::waiting::{eventually, within};

/// Lean gives up after so long.
const LEANS_PATIENCE: Duration = Duration::from_secs(10);
const HEAD: &str = "POST /webhooks/lean HTTP/1.1\r\nhost: x\r\n";

fn ingress_alone() -> Recipe {
    Recipe { workers: 0, relays: 0, ..Recipe::on(On::Sqlite) }
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").split('/').next().unwrap_or_default().parse().unwrap()
}

/// A connection on which that has been sent.
async fn said(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    within(stream.write_all(bytes)).await.unwrap();
    stream
}

/// All that is answered until the connection is closed; nothing more if it breaks.
async fn answers(stream: &mut TcpStream) -> String {
    let (mut answers, mut some) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = within(stream.read(&mut some)).await {
        answers.extend_from_slice(&some[..read]);
    }
    String::from_utf8_lossy(&answers).into_owned()
}

/// The status of each answer.
fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| answer.split(' ').next().unwrap_or_default()).collect()
}

fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// An honest post, complete but for what comes after.
fn honest(body: &str) -> String {
    let signature = fixtures::signature(SECRET, body.as_bytes());
    format!("{HEAD}lean-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Honest posts, each over a connection of its own, get through within Lean's patience.
async fn assert_honest_posts_get_through(url: &str) {
    let body = fixtures::seed().to_string();
    for _ in 0..20 {
        let client = reqwest::Client::builder().timeout(LEANS_PATIENCE).build().unwrap();
        let signature = fixtures::signature(SECRET, body.as_bytes());
        let answer = client.post(url).header("lean-signature", signature).body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

/// The ingress as a process, under a limit on open files.
async fn ingress_limited(app: &TestApp, ulimit: &'static str) -> (Running, String) {
    let ingress = role(app, "ingress").env("LEAN_WEBHOOK_SECRETS", SECRET).env("BANKLINK_LISTEN", "127.0.0.1:0");
    let ingress = ingress.limited(ulimit).start();
    let url = ingress.url().await;
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    (ingress, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_keep_no_honest_post_out() {
    // This process holds the other ends.
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
    assert!(files.is_none_or(|files| files > 11_000), "{files:?} files may be open here: too few to tell");
    let connections = 10_000;

    let app = ingress_alone().start().await;
    let (mut ingress, url) = ingress_limited(&app, "-n").await;
    let half_a_body = format!("{HEAD}content-length: 100000\r\n\r\n{}", "x".repeat(1_000));
    let mut idle = Vec::new();
    for number in 0..connections {
        let begins = [b"".as_slice(), HEAD.as_bytes(), half_a_body.as_bytes()][number % 3];
        idle.push(said(address(&url), begins).await);
    }
    assert_honest_posts_get_through(&url).await;
    // Nobody was hung up on for it, but for those whose time was over.
    let open = idle.iter().filter(|stream| is_open(stream)).count();
    assert!(open > connections / 2, "{open} of {connections} are open");
    drop(idle);
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_connection_is_taken_the_oldest_idle_one_makes_room() {
    let app = ingress_alone().start().await;
    let (mut ingress, url) = ingress_limited(&app, "-n 300").await;
    ingress.until_log("few files may be open").await;
    let mut under_way = said(address(&url), format!("{HEAD}content-length: 10\r\n\r\n").as_bytes()).await;
    let mut idle = Vec::new();
    for number in 0..400 {
        idle.push(said(address(&url), if number % 2 == 0 { b"" } else { HEAD.as_bytes() }).await);
    }
    assert_honest_posts_get_through(&url).await;
    assert_eq!(answers(&mut idle[0]).await, "", "closed, and nothing said");
    assert!(is_open(idle.last().unwrap()), "the newest are left alone");
    // What had been asked is answered, though its connection is the oldest.
    under_way.write_all(b"0123456789").await.unwrap();
    assert_eq!(statuses(&answers(&mut under_way).await), ["401"]);
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_files_may_be_open_as_the_system_allows() {
    let app = ingress_alone().start().await;
    let (mut ingress, url) = ingress_limited(&app, "-Sn 100").await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(said(address(&url), b"").await);
    }
    assert_honest_posts_get_through(&url).await;
    assert!(is_open(&idle[0]), "there was room for all");
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_asks_anything_is_hung_up_on() {
    let app = ingress_alone().start().await;
    let silent = async { answers(&mut said(address(&app.url), b"").await).await };
    let answered_once = async { answers(&mut said(address(&app.url), honest("{}").as_bytes()).await).await };
    let trickling = async || {
        let mut stream = said(address(&app.url), HEAD.as_bytes()).await;
        // Until somebody has had enough.
        eventually("the end of it", async || stream.write_all(b"x-slow: loris\r\n").await.err()).await;
    };
    let many_trickling = join_all((0..50).map(|_| trickling()));
    let honest_meanwhile = async {
        let mut now_and_then = tokio::time::interval(Duration::from_millis(500));
        loop {
            now_and_then.tick().await;
            assert_honest_posts_get_through(&app.url).await;
        }
    };
    let (silent, answered) = tokio::select! {
        (silent, answered, _) = async { tokio::join!(silent, answered_once, many_trickling) } => (silent, answered),
        () = honest_meanwhile => unreachable!("it has no end"),
    };
    assert_eq!((silent.as_str(), statuses(&answered)), ("", vec!["200"]));
    app.finish().await;
}

/// Whoever sends it traffic has to learn of it before nobody is there to take it.
#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_that_is_told_to_stop_is_not_ready_while_it_answers_what_is_under_way() {
    let app = ingress_alone().start().await;
    let (mut ingress, url) = ingress_limited(&app, "-n").await;
    let admin = ingress.admin().await;
    let post = honest(&fixtures::seed().to_string()).replace("\r\nhost", "\r\nexpect: 100-continue\r\nhost");
    let (head, body) = post.split_once("\r\n\r\n").unwrap();
    let mut under_way = said(address(&url), format!("{head}\r\n\r\n").as_bytes()).await;
    let mut interim = [0; 25];
    within(under_way.read_exact(&mut interim)).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n", "its body is waited for");
    ingress.tell_to_terminate().await;
    let told = until_answers(&admin, "/readyz/ingress", 503).await;
    assert_eq!(told["roles"]["ingress"]["checks"]["process"], "the process is stopping", "{told}");
    within(under_way.write_all(body.as_bytes())).await.unwrap();
    assert_eq!(statuses(&answers(&mut under_way).await), ["200"]);
    assert_eq!(ingress.ended().await, 0, "{}", ingress.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_is_refused() {
    let app = ingress_alone().start().await;
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let large = format!("x-large: {}\r\n", "y".repeat(40_000));
    for flood in [many, large] {
        let mut stream = said(address(&app.url), format!("{HEAD}{flood}\r\n").as_bytes()).await;
        assert_eq!(statuses(&answers(&mut stream).await), ["431"]);
    }
    // A name that has no end is not read on for ever: much more than any buffer on the way holds is never taken.
    let mut endless = said(address(&app.url), format!("{HEAD}x-").as_bytes()).await;
    let more = vec![b'y'; 1024 * 1024];
    let taken = async {
        for megabytes in 0..64 {
            if endless.write_all(&more).await.is_err() {
                return megabytes;
            }
        }
        64
    };
    assert!(within(taken).await < 64, "it is hung up on");
    assert_honest_posts_get_through(&app.url).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_lies_about_its_length_is_never_accepted() {
    let app = ingress_alone().start().await;
    let signed = format!("{HEAD}lean-signature: {}\r\n", fixtures::signature(SECRET, b"0123456789"));
    for (lie, expected) in [
        // Shorter than it is: what was signed is not what came, and the rest is no request.
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
        let mut stream = said(address(&app.url), format!("{signed}{lie}").as_bytes()).await;
        assert_eq!(statuses(&answers(&mut stream).await), expected, "{lie}");
    }
    // Longer than it is, and then hung up.
    let mut stream = said(address(&app.url), format!("{signed}content-length: 11\r\n\r\n0123456789").as_bytes()).await;
    stream.shutdown().await.unwrap();
    assert!(!answers(&mut stream).await.contains(" 200 "));
    assert_eq!(app.ready(&app.topology.webhooks()).await, 0, "nothing of it is on the queue");

    // Of two lengths the chunks count; whatever a proxy before us took it for, the signature is over what we read.
    let both = "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
    let mut stream = said(address(&app.url), format!("{signed}{both}").as_bytes()).await;
    let told = answers(&mut stream).await;
    if statuses(&told) == ["200"] {
        assert_eq!(app.next_message("webhooks").await.data, b"0123456789");
    } else {
        assert_eq!(statuses(&told), ["400"]);
    }
    assert_honest_posts_get_through(&app.url).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_honest_post_on_its_connection_does_it_no_harm() {
    let app = ingress_alone().start().await;
    let post = honest(&fixtures::seed().to_string());
    let mut stream = said(address(&app.url), format!("{post}{post}\0\x16\x03garbage\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&answers(&mut stream).await), ["200", "200", "400"]);
    assert_eq!(app.ready(&app.topology.webhooks()).await, 2);

    // One who asks and asks and never reads an answer.
    let asks = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let mut deaf = said(address(&app.url), asks.as_bytes()).await;
    let stuck = loop {
        match tokio::time::timeout(Duration::from_millis(500), deaf.write_all(asks.as_bytes())).await {
            Ok(Ok(())) => {}
            broken_or_stuck => break broken_or_stuck.is_err(),
        }
    };
    assert!(stuck, "nothing more is read from who reads no answer");
    assert_honest_posts_get_through(&app.url).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_share_their_room_and_take_none_from_small_ones() {
    let app = Recipe { max_body_bytes: 16_000_000, ..ingress_alone() }.start().await;
    let begins = format!("{HEAD}content-length: 1000000\r\nexpect: 100-continue\r\n\r\n");
    let mut large = Vec::new();
    for _ in 0..16 {
        let mut stream = said(address(&app.url), begins.as_bytes()).await;
        within(stream.read_exact(&mut [0; 25])).await.unwrap();
        within(stream.write_all(&[b'x'; 100_000])).await.unwrap();
        large.push(stream);
    }
    // One more finds no room, as soon as all of those have taken theirs.
    let refused = eventually("no room", async || {
        let signed = app.post_bytes(json!({ "large": "x".repeat(100_000) }).to_string().as_bytes()).await;
        (signed.status == 503).then_some(signed)
    });
    refused.await.assert_refused(503);
    assert_honest_posts_get_through(&app.url).await;

    drop(large);
    eventually("room again", async || (app.post_bytes(&[b' '; 100_000]).await.status == 200).then_some(())).await;
    app.finish().await;
}
