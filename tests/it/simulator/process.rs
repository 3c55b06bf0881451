//! `banklink simulate` as a person runs it.

use rstest::rstest;
use serde_json::{Value, json};
use testkit::SECRET;
use testkit::http;
use testkit::process::{Invocation, Running, banklink};
use testkit::waiting::eventually;

use super::receiver::Receiver;

const LISTEN: [&str; 3] = ["simulate", "--listen", "127.0.0.1:0"];

fn simulate(arguments: &[&str]) -> Invocation {
    banklink(&[&LISTEN, arguments].concat()).env("LEAN_WEBHOOK_SECRETS", SECRET)
}

/// The address that it prints.
async fn url(running: &Running) -> String {
    eventually("the address", async || {
        let log = running.log();
        let line = log.lines().find_map(|line| line.trim().strip_prefix("page "))?;
        Some(line.trim().trim_end_matches('/').to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_introduces_itself_posts_to_the_given_address_and_ends_on_a_signal() {
    let receiver = Receiver::start().await;
    let origin = receiver.url.trim_end_matches("/webhooks/lean");
    let mut simulator = simulate(&["--webhook-url", origin, "--seed", "42", "--duplicate", "100"]).start();
    let url = url(&simulator).await;
    let client = http::client();
    let links = client.post(format!("{url}/simulate/links")).body(json!({ "count": 2 }).to_string());
    assert_eq!(links.send().await.unwrap().status(), 200);
    let status = eventually("posts", async || {
        let answer = client.get(format!("{url}/simulate/status")).send().await.ok()?;
        let status: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        (status["webhooks"]["waiting"] == 0).then_some(status)
    })
    .await;
    assert_eq!((&status["seed"], &status["webhooks"]["sent"]), (&json!(42), &json!(4)));
    assert_eq!(receiver.posts().len(), 4, "the path defaults to /webhooks/lean");
    assert_eq!(simulator.terminate().await, 0);
    let log = simulator.log();
    for part in [
        "--seed 42".to_owned(),
        format!("LEAN_API_URL={url} LEAN_AUTH_URL={url}"),
        "LEAN_CLIENT_SECRET=".to_owned(),
        "again after 1s, 2s, 5s, 10s, 1m, 3m".to_owned(),
        format!("<script src=\"{url}/sdk.js\"></script>"),
    ] {
        assert!(log.contains(&part), "{part}: {log}");
    }
    assert!(!log.contains(SECRET) && !log.contains("Warning"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_although_webhooks_wait_for_their_retry() {
    let mut simulator = simulate(&["--webhook-url", "http://127.0.0.1:9", "--time-scale", "1"]).start();
    let url = url(&simulator).await;
    let links = http::client().post(format!("{url}/simulate/links")).body(r#"{"count":3}"#);
    assert_eq!(links.send().await.unwrap().status(), 200);
    simulator.until_log("webhooks are not accepted").await;
    assert_eq!(simulator.interrupt().await, 0);
    assert_eq!(simulator.log().matches("webhooks are not accepted").count(), 1, "logged once, not for each");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_loopback_is_warned_of() {
    let arguments = ["simulate", "--listen", "0.0.0.0:0"];
    let mut simulator = banklink(&arguments).env("LEAN_WEBHOOK_SECRETS", SECRET).start();
    simulator.until_log("Warning: this address is not loopback").await;
    assert_eq!(simulator.terminate().await, 0);
}

#[rstest]
#[case::drop(&["--drop", "101"])]
#[case::duplicate(&["--duplicate", "-1"])]
#[case::reorder(&["--reorder", "half"])]
#[case::time_scale(&["--time-scale", "0"])]
#[case::seed(&["--seed", "x"])]
#[case::dialect(&["--dialect", "qatar"])]
#[case::webhook_url(&["--webhook-url", "localhost:8080"])]
#[case::credentials(&["--api-url", "http://user:password@127.0.0.1"])]
#[case::no_tokens(&["--api-url", "http://127.0.0.1:8081"])]
#[case::short_token(&["--api-url", "http://127.0.0.1:8081", "--api-tokens", "short"])]
#[case::empty_token(&["--api-url", "http://127.0.0.1:8081", "--api-tokens", "a-token-of-thirty-two-characters,"])]
#[case::two_lines(&["--api-url", "http://127.0.0.1:8081", "--api-tokens", "a-token-of-thirty-two-characters\na-token-of-thirty-two-characters"])]
#[tokio::test]
async fn wrong_usage_exits_2(#[case] arguments: &[&str]) {
    let run = simulate(arguments).run().await;
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    assert!(!run.stderr.contains("a-token-of"), "{run:?}");
}

#[tokio::test]
async fn it_does_not_start_without_a_secret_or_on_an_address_in_use() {
    let run = banklink(&LISTEN).run().await;
    assert!(run.code == 2 && run.stderr.contains("LEAN_WEBHOOK_SECRETS is not set"), "{run:?}");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = simulate(&["--listen", &address]).run().await;
    assert_eq!(run.code, 2, "--listen is given twice: {run:?}");
    let run = banklink(&["simulate", "--listen", &address]).env("LEAN_WEBHOOK_SECRETS", SECRET).run().await;
    assert!(run.code == 1 && run.stderr.contains("cannot listen on"), "{run:?}");
}

#[tokio::test]
async fn help_says_whom_it_is_for() {
    let help = banklink(&["simulate", "--help"]).run().await;
    assert_eq!(help.code, 0);
    for part in [
        "without an account and offline",
        "your own page",
        "--time-scale",
        "[default: 127.0.0.1:9470]",
        "BANKLINK_API_TOKENS",
    ] {
        assert!(help.stdout.split_whitespace().collect::<Vec<_>>().join(" ").contains(part), "{part}: {}", help.stdout);
    }
}
