//! What the overview says about the other processes, and when it keeps itself up to date.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use banklink::console::Settings;
use testkit::app::console::loopback;
use testkit::waiting::{until, within};
use testkit::{On, TestApp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The admin address of a process whose worker is not ready, and which has accepted that many webhooks.
async fn admin(webhooks: Arc<AtomicU32>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            let body = if request[..length].starts_with(b"GET /readyz ") {
                r#"{"status":"not ready","roles":{"ingress":{"checks":{"broker":"ok"}},"worker":{"checks":{"broker":"ok","database":"<b>no answer</b>"}}}}"#
                    .to_owned()
            } else {
                format!("banklink_ingress_requests_total{{status=\"200\"}} {}\n", webhooks.load(Ordering::SeqCst))
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_shows_the_health_and_the_counts_of_processes_and_names_those_that_are_silent() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let webhooks = Arc::new(AtomicU32::new(1_000));
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let processes = vec![admin(Arc::clone(&webhooks)).await, unused.to_string()];
    let console = app.start_console(Settings { processes: processes.clone(), ..loopback() }).await;
    let person = console.visitor();
    console.console.ask_processes().await;
    let page = person.get("/").await.page();
    for expected in [
        format!("The worker at {} is not ready: database: &lt;b&gt;no answer&lt;/b&gt;.", processes[0]),
        format!("The process at {} does not answer.", processes[1]),
    ] {
        assert!(page.contains(&expected), "{expected}");
    }
    assert!(page.contains("<td data-label=\"Role\">ingress</td>"), "a role that is ready is listed, too");

    // What was counted before the console came is not of this minute.
    webhooks.store(1_042, Ordering::SeqCst);
    console.console.ask_processes().await;
    let page = person.get("/").await.page();
    assert!(page.contains("Webhooks accepted, by minute: 42 in "), "{:?}", page.split("aria-label=\"Webhooks").nth(1));
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_open_is_sent_what_has_changed() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(loopback()).await;
    let stream = console.visitor().request(reqwest::Method::GET, "/live/overview").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-store");
    let (mut stream, mut received) = (stream, String::new());
    app.insert_letters(super::after_a_bad_deploy(7)).await;
    until("the letters", async || {
        let chunk = within(stream.chunk()).await.unwrap().unwrap();
        received.push_str(&String::from_utf8_lossy(&chunk));
        received.contains("7 letters are dead.")
    })
    .await;
    assert!(received.starts_with("retry: ") && received.contains("\ndata: <section id=\"outdated\""), "{received}");
    assert!(!received.contains("<form"), "a form is never replaced while it is filled in");
    drop((console, stream));
}
