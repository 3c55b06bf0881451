//! The ingress while it stops.

use testkit::process::until_answers;
use testkit::raw_http::{read_to_end, send_without_body, statuses};
use testkit::waiting::within;
use testkit::{On, TestApp, fixtures};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_ingress_answers_a_request_that_has_begun() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let body = fixtures::seed().to_string();
    let mut stream = send_without_body(&app.url, &body).await;
    app.stop_ingress();
    within(stream.write_all(body.as_bytes())).await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut stream).await), ["200"]);
    assert_eq!(app.next_message("webhooks").await.data, body.as_bytes());
}

/// A load balancer must learn of the shutdown before the last request is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_ingress_is_not_ready_while_it_answers_its_last_requests() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut ingress = app.role("ingress").start();
    let (url, admin) = (ingress.url().await, ingress.admin().await);
    until_answers(&admin, "/readyz", 200).await;
    let body = fixtures::seed().to_string();
    let mut stream = send_without_body(&url, &body).await;
    ingress.signal("TERM").await;
    let readiness = until_answers(&admin, "/readyz/ingress", 503).await;
    assert_eq!(readiness["roles"]["ingress"]["checks"]["process"], "the process is stopping", "{readiness}");
    within(stream.write_all(body.as_bytes())).await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut stream).await), ["200"]);
    assert_eq!(ingress.ended().await, 0, "{}", ingress.log());
    assert_eq!(app.next_message("webhooks").await.data, body.as_bytes());
}
