//! `banklink send`.

use serde_json::{Value, json};
use testkit::process::banklink;
use testkit::{On, SECRET, TestApp, fixtures};
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

    let refused = send(&[file]).env("LEAN_WEBHOOK_SECRETS", "wrong").run().await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("answered 401"), "{}", refused.stderr);
    assert_eq!(send(&["-"]).input("neither JSON\nnor lines").run().await.code, 1);
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}
