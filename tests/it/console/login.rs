//! Logging in with a token, and what a session is.

use std::time::Duration;

use banklink::console::{Role, Settings};
use testkit::app::console::{accounts, token};
use testkit::waiting::within;
use testkit::{On, TestApp};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_to_the_page_that_was_asked_for_and_ends_with_the_logout() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let person = console.visitor();
    let asked = person.get("/letters?class=panicked").await;
    assert_eq!(asked.status, 303, "{asked:?}");
    let form = person.get(asked.header("location")).await;
    let next = form.hidden("next").replace("&amp;", "&");
    let fields = [("token", token(Role::Viewer)), ("next", next)];
    let answer = person.post("/login", &fields.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/letters?class=panicked"));
    let cookie = answer.header("set-cookie");
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    assert!(value.starts_with("banklink-console=") && value.len() > 70, "{value}");

    assert!(person.get("/letters").await.page().contains("viewer"));
    let out = person.post("/logout", &[]).await;
    assert!(out.status == 303 && out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    let (name, id) = value.split_once('=').unwrap();
    let replayed = console.visitor().with_header("cookie", &format!("{name}={id}"));
    assert_eq!(replayed.get("/letters").await.status, 303, "the session has ended on the server");
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_to_no_other_site() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let token = token(Role::Viewer);
    for next in
        ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "/\t/elsewhere.example", "x"]
    {
        let answer = console.visitor().post("/login", &[("token", &token), ("next", next)]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{next}");
    }
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_limited_by_address_and_says_when_to_come_back() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let proxies = banklink::ingress::parse_networks("127.0.0.1").unwrap();
    let console = app.start_console(Settings { proxies, ..accounts() }).await;
    let guesser = console.visitor().with_header("x-forwarded-for", "203.0.113.7");
    for _ in 0..10 {
        let answer = guesser.post("/login", &[("token", "a-guess-of-a-token")]).await;
        assert!(answer.status == 401 && answer.text.contains("not known"), "{answer:?}");
        assert!(!answer.text.contains("a-guess-of-a-token") && answer.header("set-cookie").is_empty(), "{answer:?}");
    }
    let token = token(Role::Admin);
    let refused = guesser.post("/login", &[("token", &token)]).await;
    assert_eq!(refused.status, 429, "even with a token that is right");
    assert!((1..=300).contains(&refused.header("retry-after").parse::<u32>().unwrap()), "{refused:?}");
    let other = console.visitor().with_header("x-forwarded-for", "203.0.113.8");
    assert_eq!(other.post("/login", &[("token", &token)]).await.status, 303);
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_encrypts_the_cookie_is_for_encrypted_requests_of_this_host_only() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let proxies = banklink::ingress::parse_networks("127.0.0.1").unwrap();
    for (prefix, expected) in [
        ("", ("__Host-banklink-console", "Path=/; HttpOnly; SameSite=Strict; Secure")),
        ("/ops", ("__Secure-banklink-console", "Path=/ops; HttpOnly; SameSite=Strict; Secure")),
    ] {
        let settings = Settings { proxies: proxies.clone(), path_prefix: prefix.to_owned(), ..accounts() };
        let console = app.start_console(settings).await;
        let person = console.visitor().with_header("x-forwarded-proto", "https");
        let answer = person.post("/login", &[("token", &token(Role::Viewer))]).await;
        let (pair, attributes) = answer.header("set-cookie").split_once("; ").unwrap();
        assert_eq!((pair.split('=').next().unwrap(), attributes), expected);
        assert_eq!(person.get("/letters").await.status, 200);
        drop(console);
    }
    // A client cannot say so itself.
    let console = app.start_console(accounts()).await;
    let person = console.visitor().with_header("x-forwarded-proto", "https");
    let answer = person.post("/login", &[("token", &token(Role::Viewer))]).await;
    assert!(!answer.header("set-cookie").contains("Secure"), "{answer:?}");
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_large_forms_of_strangers_keep_no_one_out() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let address = console.url.trim_start_matches("http://");
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("POST /login HTTP/1.1\r\nhost: {address}\r\ncontent-length: 100\r\n\r\ntoken=");
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // Less than the console waits for a form.
    let viewer = timeout(Duration::from_secs(15), console.log_in(Role::Viewer)).await.expect("a login");
    assert_eq!(within(viewer.get("/letters")).await.status, 200);
    let large = console.visitor().post("/login", &[("token", &"x".repeat(20_000))]).await;
    assert_eq!(large.status, 413);
    let form = viewer.post("/login", &[("token", &"x".repeat(2_000_000))]).await;
    assert_eq!(form.status, 413);
    drop((console, slow));
}
