//! OpenTelemetry's variables are honoured or refused, and a collector that is away is logged.

use testkit::process::{Invocation, banklink, until_answers};
use testkit::waiting::within;
use testkit::{On, SECRET, TestApp, fixtures};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_variable_that_cannot_be_honoured_is_a_wrong_setting() {
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/does/not/exist"),
        ("SSL_CERT_FILE", "/does/not/exist"),
    ] {
        let run = banklink(&["run", "ingress"])
            .env("LEAN_WEBHOOK_SECRETS", SECRET)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
            .env(name, value);
        let run = run.run().await;
        assert!(run.code == 2 && run.stderr.contains(name) && run.stderr.contains(value), "{name}: {run:?}");
    }
}

/// An ingress that exports traces every 50 ms.
fn traced(app: &TestApp, endpoint: &str) -> Invocation {
    app.role("ingress").env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

async fn post(url: &str, secret: &str) -> u16 {
    let body = fixtures::seed().to_string();
    let client =
        testkit::http::client().post(url).header("lean-signature", fixtures::signature(secret, body.as_bytes()));
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client.header("traceparent", traceparent).body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_logged_once_and_a_stranger_makes_no_span() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut ingress = traced(&app, "http://127.0.0.1:1").start();
    let url = ingress.url().await;
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    for _ in 0..5 {
        assert_eq!(post(&url, "a-secret-of-a-stranger").await, 401);
    }
    assert_eq!(post(&url, SECRET).await, 200);
    ingress.until_log("traces cannot be exported").await;
    let log = ingress.log();
    assert!(log.contains(r#""spans":1,"#), "the unsigned posts make no span: {log}");
    for _ in 0..3 {
        assert_eq!(post(&url, SECRET).await, 200);
    }
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    assert_eq!(ingress.log().matches("traces cannot be exported").count(), 1, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_for_traces_wins_and_traces_can_be_switched_off() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let mut ingress = traced(&app, &endpoint).env(name, value).start();
        let url = ingress.url().await;
        until_answers(&ingress.admin().await, "/readyz", 200).await;
        assert_eq!(post(&url, SECRET).await, 200);
        // The process exports what it has before it ends.
        assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    }
    let ingress = traced(&app, "http://127.0.0.1:1").env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint).start();
    let (url, admin) = (ingress.url().await, ingress.admin().await);
    until_answers(&admin, "/readyz", 200).await;
    let nothing = tokio::time::timeout(std::time::Duration::ZERO, collector.accept()).await;
    assert!(nothing.is_err(), "nothing was exported while traces were off");
    assert_eq!(post(&url, SECRET).await, 200);
    within(collector.accept()).await.unwrap();
    app.finish_with_leftovers().await;
}
