//! The API while RabbitMQ or the database is away.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use testkit::app::ApiClient;
use testkit::process::{Running, metric, until_answers};
use testkit::proxy::{Mode, Proxy};
use testkit::waiting::{eventually, until, within};
use testkit::{On, TestApp, amqp_url};
use uuid::Uuid;

use super::stream::Frames;
use super::{entities, link};

/// An API that reaches RabbitMQ by way of `proxy`, and hears of changes by events.
async fn api_behind(app: &TestApp, proxy: &Proxy) -> (Running, ApiClient) {
    let process = app.api_process().env("AMQP_URL", &proxy.url).start();
    let client = ApiClient::at(&process.api().await);
    process.until_log("hearing of changes by events").await;
    (process, client)
}

async fn until_waiting(process: &Running, requests: f64) {
    let admin = process.admin().await;
    until("waiting requests", async || metric(&admin, "banklink_api_waiting").await == Some(requests)).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn while_rabbitmq_is_away_it_looks_every_second(#[case] on: On) {
    let app = TestApp::start(on).await;
    let proxy = Proxy::before(&amqp_url()).await;
    let (process, api) = api_behind(&app, &proxy).await;
    let mut frames = Frames::open(&api, "customer").await;
    assert_eq!(frames.next().await.0, "snapshot");
    proxy.set(Mode::Closed);
    process.until_log("looking for changes every second").await;
    until_answers(&process.admin().await, "/readyz/api", 200).await;

    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.list("customer", "wait=60s").await }
    });
    until_waiting(&process, 2.0).await;
    let entity = Uuid::new_v4();
    link(&app, "customer", entity).await;
    assert_eq!(entities(&within(waiting).await.unwrap()), [entity]);
    let (name, _, snapshot) = frames.next().await;
    assert_eq!((name.as_str(), entities(&snapshot)), ("snapshot", vec![entity]));

    // Afterwards events arrive again.
    proxy.set(Mode::Forward);
    until("events again", async || process.log().matches("hearing of changes by events").count() == 2).await;
    let event = link(&app, "customer", Uuid::new_v4()).await;
    assert_eq!(frames.next().await.2, event);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_while_its_connection_was_silent_is_found_after_it_reconnects() {
    let app = TestApp::start(On::Postgres).await;
    let proxy = Proxy::before(&format!("{}?heartbeat=1", amqp_url())).await;
    let (process, api) = api_behind(&app, &proxy).await;
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.list("customer", "wait=60s").await }
    });
    until_waiting(&process, 1.0).await;
    // The event is lost with the connection; nothing but the reconnect tells of it.
    proxy.silence_existing();
    let entity = Uuid::new_v4();
    link(&app, "customer", entity).await;
    assert_eq!(entities(&within(waiting).await.unwrap()), [entity]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_requests_are_refused_and_those_that_wait_go_on_waiting() {
    let app = TestApp::start(On::Postgres).await;
    let proxy = Proxy::before(&app.database_url()).await;
    let process = app.api_process().env("DATABASE_URL", &proxy.url).short_deadlines().start();
    let (admin, api) = (process.admin().await, ApiClient::at(&process.api().await));
    until_answers(&admin, "/readyz/api", 200).await;
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.list("customer", "wait=60s").await }
    });
    until_waiting(&process, 1.0).await;
    proxy.set(Mode::Closed);
    let answer = until_answers(&admin, "/readyz/api", 503).await;
    assert_eq!(answer["roles"]["api"]["checks"]["database"], "the database is unavailable");
    for path in ["/v1/customers/customer/bank-links", "/v1/customers/customer/bank-links/events"] {
        api.answer(path).await.assert_refused(503);
    }
    api.answer("/v1/customers/customer/bank-links?wait=10ms").await.assert_refused(503);
    let entity = Uuid::new_v4();
    link(&app, "customer", entity).await;
    proxy.set(Mode::Forward);
    assert_eq!(entities(&within(waiting).await.unwrap()), [entity]);
    eventually("an answer", async || {
        let answer = api.answer(&format!("/v1/bank-links/{entity}")).await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(api.list("another", "").await["bank_links"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_migrated_stops_the_start() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("empty.db").display());
    let run = app.api_process().env("DATABASE_URL", url).run();
    let run = tokio::time::timeout(Duration::from_secs(180), run).await.unwrap();
    assert!(run.code == 1 && run.stderr.contains("banklink migrate up"), "{run:?}");
}
