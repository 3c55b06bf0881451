//! OpenTelemetry's variables are honoured or refused.

use testkit::process::{banklink, until_answers};
use testkit::waiting::within;
use testkit::{On, SECRET, TestApp, fixtures};
use tokio::net::TcpListener;

use super::{post, traced};

#[tokio::test]
async fn a_variable_that_cannot_be_honoured_is_a_wrong_setting() {
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER", "ALWAYS_OFF"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_CONFIG_FILE", "/etc/otel.yaml"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/does/not/exist"),
        ("SSL_CERT_FILE", "/does/not/exist"),
    ] {
        let run = banklink(&["run", "ingress"])
            .env("LEAN_WEBHOOK_SECRETS", SECRET)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
            .env(name, value);
        let run = run.run().await;
        assert!(run.code == 2 && run.stderr.contains(name), "{name}: {run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_for_traces_wins_and_traces_can_be_switched_off() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let mut ingress = traced(app.role("ingress"), &endpoint).env(name, value).start();
        let url = ingress.url().await;
        until_answers(&ingress.admin().await, "/readyz", 200).await;
        post(&url, &fixtures::seed().to_string(), "01").await;
        // The process exports what it has before it ends.
        assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    }
    let ingress =
        traced(app.role("ingress"), "http://127.0.0.1:1").env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint).start();
    let (url, admin) = (ingress.url().await, ingress.admin().await);
    until_answers(&admin, "/readyz", 200).await;
    let nothing = tokio::time::timeout(std::time::Duration::ZERO, collector.accept()).await;
    assert!(nothing.is_err(), "nothing was exported while traces were off");
    post(&url, &fixtures::seed().to_string(), "01").await;
    within(collector.accept()).await.unwrap();
    app.finish_with_leftovers().await;
}
