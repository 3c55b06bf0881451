//! Failures while a connection to RabbitMQ is being opened.

use futures_util::future::join_all;
use testkit::process::until_answers;
use testkit::proxy::{Mode, Proxy};
use testkit::services::Services;
use testkit::waiting::until;
use testkit::{On, TestApp, amqp_url, fixtures, http};

use super::{post_some, run, until_processed};

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_reported_and_retried_and_leaves_no_threads_behind() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let broker = Proxy::before(&amqp_url()).await;
    broker.set(Mode::Silent);
    let mut process = run(&app, &broker.url, &app.database_url());
    let (admin, url) = (process.admin().await, process.url().await);
    http::post(&url, &fixtures::seed()).await.assert_refused(503);
    until_answers(&admin, "/readyz/ingress", 503).await;
    process.until_log("RabbitMQ did not answer in time").await;
    process.until_log("still no connection to RabbitMQ").await;
    // Each of the three connections has one attempt at a time, however many attempts there were.
    until("no threads of earlier attempts", async || process.threads("lapin-io-loop") <= 3).await;

    broker.set(Mode::Forward);
    until_answers(&admin, "/readyz", 200).await;
    until_processed(&app, &post_some(&url, 1).await).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_closes_during_the_handshake_is_reported_and_used_once_it_is_healthy() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    join_all([Mode::Closed, Mode::ClosedAfter(0), Mode::ClosedAfter(1), Mode::ClosedAfter(2), Mode::Torn].map(
        async |mode| {
            let broker = Proxy::before(&amqp_url()).await;
            broker.set(mode);
            let mut process = run(&app, &broker.url, &app.database_url());
            process.until_log("no connection to RabbitMQ; trying again until there is one").await;
            assert!(process.log().contains(r#""cause":"RabbitMQ: "#), "{mode:?}: {}", process.log());
            broker.set(Mode::Forward);
            until_answers(&process.admin().await, "/readyz", 200).await;
            assert_eq!(process.terminate().await, 0, "{mode:?}: {}", process.log());
        },
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_new_reason_for_a_refused_login_is_logged_and_the_broker_is_used_once_it_accepts() {
    let services = Services::up("test-refusals", &["rabbitmq"]).await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let url = services.amqp_url.replace("guest:guest", "late:secret").replace("%2f", "elsewhere");
    let mut process = run(&app, &url, &app.database_url());
    let warned = async |reason: &str| {
        let warns =
            |line: &str| line.contains("WARN") && line.contains("no connection to RabbitMQ;") && line.contains(reason);
        until(reason, async || process.log().lines().any(warns)).await;
    };
    warned("ACCESS_REFUSED").await;
    services.ctl(&["add_user", "late", "secret"]).await;
    warned("elsewhere").await;
    assert!(!process.log().contains("secret"), "{}", process.log());
    services.ctl(&["add_vhost", "elsewhere"]).await;
    services.ctl(&["set_permissions", "-p", "elsewhere", "late", ".*", ".*", ".*"]).await;
    until_answers(&process.admin().await, "/readyz", 200).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}
