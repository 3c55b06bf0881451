//! The OpenAPI document says what the API does: schemathesis sends it what the document allows, and what it does not.

use std::time::Duration;

use banklink::api::Settings;
use testkit::app::API_TOKEN;
use testkit::tool::tool;
use testkit::waiting::named_within;
use testkit::{On, TestApp, fixtures};
use tokio::process::Command;

/// How many requests are made of each operation, in each way.
const MAX_EXAMPLES: &str = "50";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let schemathesis = tool("schemathesis").await;
    let app = TestApp::start(On::Postgres).await;
    // It asks for waits of up to a minute, one after the other.
    let api = app.start_api(|settings| Settings { max_wait: Duration::from_millis(10), ..settings }).await;
    // The document's examples name this link.
    app.post(&fixtures::seed()).await.assert_accepted();
    app.next_event().await;
    let directory = tempfile::tempdir().unwrap();
    let run = Command::new(schemathesis)
        .arg("run")
        .arg(format!("{}/v1/openapi.json", api.origin))
        .args(["--header", &format!("Authorization: Bearer {API_TOKEN}")])
        // Its answer does not end.
        .args(["--exclude-operation-id", "streamBankLinkEvents"])
        .args(["--checks", "all", "--max-examples", MAX_EXAMPLES, "--seed", "1", "--no-color"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .current_dir(directory.path())
        .output();
    let output = named_within("schemathesis", run).await.unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    // The operation that serves the document itself does not count.
    assert!(report.contains("Tested: 2"), "{report}");
}
