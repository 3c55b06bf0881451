//! A collector that is away or slow is logged, and costs spans, never time. One that wants TLS and a password gets both.

use testkit::otlp::Receiver;
use testkit::process::{Invocation, until_answers};
use testkit::tls::Certificates;
use testkit::{On, TestApp, fixtures};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{SENDER, TRACE, post, post_in_trace, traced};

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_logged_once_and_a_stranger_makes_no_span() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut ingress = traced(app.role("ingress"), "http://127.0.0.1:1").start();
    let url = ingress.url().await;
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    let body = fixtures::seed().to_string();
    for _ in 0..5 {
        let traceparent = format!("00-{TRACE}-{SENDER}-01");
        assert_eq!(post_in_trace(&url, "a-secret-of-a-stranger", &body, &traceparent).await.0, 401);
    }
    post(&url, &body, "01").await;
    ingress.until_log("traces cannot be exported").await;
    let log = ingress.log();
    assert!(log.contains(r#""spans":2,"#), "the unsigned posts make no span: {log}");
    for _ in 0..3 {
        post(&url, &body, "01").await;
    }
    assert_eq!(ingress.terminate().await, 0, "{}", ingress.log());
    assert_eq!(ingress.log().matches("traces cannot be exported").count(), 1, "{}", ingress.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_holds_up_nothing_and_the_loss_of_spans_is_logged() {
    const WEBHOOKS: usize = 100;
    let app = TestApp::builder(On::Sqlite).workers(0).relays(0).build().await;
    // Accepts connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let running = traced(app.all_roles(), &endpoint).env("OTEL_BSP_MAX_QUEUE_SIZE", "16");
    let running = running.env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8").start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    let url = running.url().await;
    for _ in 0..WEBHOOKS {
        post(&url, &fixtures::created(Uuid::new_v4()).to_string(), "01").await;
    }
    for _ in 0..WEBHOOKS {
        app.next_message("subscriber").await;
    }
    running.until_log("BatchSpanProcessor.SpanDroppingStarted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_verified_and_gets_the_headers_and_the_certificate_that_it_wants() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let (certificates, stranger) = (Certificates::new(), Certificates::new());
    let receiver = Receiver::start_with_tls(&certificates).await;
    let path = |path: std::path::PathBuf| path.display().to_string();
    let (client, key) = (path(certificates.certificate()), path(certificates.key()));
    let ingress = |authority: &Certificates| {
        traced(app.role("ingress"), &receiver.endpoint)
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YTpi")
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", path(authority.root()))
    };
    let refused = [ingress(&certificates), with_certificate(ingress(&stranger), &client, &key)];
    for invocation in refused {
        let mut refused = invocation.start();
        let url = refused.url().await;
        until_answers(&refused.admin().await, "/readyz", 200).await;
        post(&url, &fixtures::seed().to_string(), "01").await;
        refused.until_log("traces cannot be exported").await;
        assert_eq!(refused.terminate().await, 0, "{}", refused.log());
    }
    assert_eq!(receiver.authorizations(), Vec::<String>::new());

    let mut running = with_certificate(ingress(&certificates), &client, &key).start();
    let url = running.url().await;
    until_answers(&running.admin().await, "/readyz", 200).await;
    post(&url, &fixtures::seed().to_string(), "01").await;
    receiver.until_span("the post", |span| span.name == "POST /webhooks/lean" && span.trace_id == TRACE).await;
    assert_eq!(running.terminate().await, 0, "{}", running.log());
    assert_eq!(receiver.authorizations()[0], "Basic YTpi");
    assert!(!running.log().contains("YTpi"), "{}", running.log());
    app.finish_with_leftovers().await;
}

fn with_certificate(invocation: Invocation, certificate: &str, key: &str) -> Invocation {
    invocation
        .env("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", certificate)
        .env("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", key)
}
