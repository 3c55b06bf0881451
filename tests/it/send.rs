//! `banklink send`.

use serde_json::{Value, json};
use testkit::process::banklink;
use testkit::waiting::within;
use testkit::{On, SECRET, TestApp, fixtures};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn send_posts_a_file_or_stdin_or_samples_and_prints_totals() {
    let app = TestApp::start(On::Sqlite).await;
    let send = |arguments: &[&str]| {
        let all = [&["send", "--url", &app.url, "--json"], arguments].concat();
        banklink(&all).env("LEAN_WEBHOOK_SECRETS", SECRET)
    };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/entity_created.json");
    let sent = send(&[file]).run().await;
    assert_eq!(sent.code, 0, "{sent:?}");
    let summary: Value = serde_json::from_str(&sent.stdout).unwrap();
    assert_eq!((&summary["sent"], &summary["accepted"], &summary["refused"]), (&json!(1), &json!(1), &json!(0)));

    let (first, second) =
        (fixtures::created(Uuid::new_v4()).to_string(), fixtures::created(Uuid::new_v4()).to_string());
    let exported = json!({ "message_id": Uuid::now_v7(), "body": base64(second.as_bytes()) });
    let lines = format!("{first}\n\n{exported}\n");
    assert_eq!(send(&["-"]).input(lines).run().await.code, 0);
    assert_eq!(send(&["--count", "3", "--rate", "1000"]).run().await.code, 0);
    app.wait_until_processed().await;
    assert_eq!(app.bank_links().await.len(), 1 + 2 + 3);
    assert_eq!(app.dead_letters().await.len(), 0, "every body arrives unchanged");

    let refused = send(&[file]).env("LEAN_WEBHOOK_SECRETS", "not-the-right-secret").run().await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("answered 401"), "{}", refused.stderr);
    assert_eq!(send(&["-"]).input("neither JSON\nnor lines").run().await.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_leans_events_api_become_links_and_anything_else_is_refused_before_posting() {
    let app = TestApp::start(On::Sqlite).await;
    let send = |arguments: &[&str]| {
        let all = [&["send", "--url", &app.url, "--json"], arguments].concat();
        banklink(&all).env("LEAN_WEBHOOK_SECRETS", SECRET)
    };
    let created = || fixtures::created(Uuid::new_v4());
    let page =
        |number: usize| json!({ "data": [created(), created()], "page": { "number": number, "total_pages": 2 } });
    let pages = format!("{}\n{}\n", page(0), page(1));
    let sent = send(&["-"]).input(pages).run().await;
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(sent.stderr.contains("read 4 webhooks from 2 pages of Lean's Events API"), "{sent:?}");
    let indented =
        serde_json::to_string_pretty(&json!([created(), { "status": "DELIVERED", "event": created() }])).unwrap();
    let sent = send(&["-"]).input(indented).run().await;
    assert!(sent.code == 0 && sent.stderr.contains("read 2 webhooks from 1 array, 1 log record"), "{sent:?}");
    app.until_links(6).await;

    for wrong in [json!({ "data": [created(), { "id": 1 }] }), json!([created(), "text"]), json!({ "results": [] })] {
        let refused = send(&["-"]).input(format!("{}\n{wrong}\n", created())).run().await;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{wrong}");
        let hint = refused.stderr.contains("nothing was sent") && refused.stderr.contains("Lean's Events API");
        assert!(hint && refused.stderr.contains("JSON value 2"), "{refused:?}");
    }
    app.wait_until_processed().await;
    assert_eq!(app.bank_links().await.len(), 6, "nothing of a refused input was posted");
    assert!(app.dead_letters().await.is_empty());
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}

/// Answers the first request with a redirect to `location`, and returns what was posted.
async fn redirect_once(listener: TcpListener, location: String) -> String {
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut request = vec![0; 64 * 1024];
    let read = within(stream.read(&mut request)).await.unwrap();
    let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    within(stream.write_all(answer.as_bytes())).await.unwrap();
    String::from_utf8_lossy(&request[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_so_another_server_gets_neither_body_nor_signature() {
    let [ingress, stranger] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let url = format!("http://{}", ingress.local_addr().unwrap());
    let elsewhere = format!("http://{}/webhooks/lean", stranger.local_addr().unwrap());
    let send = banklink(&["send", "--url", &url]).env("LEAN_WEBHOOK_SECRETS", SECRET).run();
    let (output, posted) = tokio::join!(send, redirect_once(ingress, elsewhere));
    assert!(posted.contains("lean-signature"), "{posted}");
    assert!(output.code == 1 && output.stderr.contains("answered 307"), "{output:?}");
    let stranger = stranger.into_std().unwrap();
    assert_eq!(stranger.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "no connection was made to it");
}
