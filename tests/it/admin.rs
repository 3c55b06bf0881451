//! The admin address: metrics that are there from the start, and readiness that tells strangers no names.

use std::collections::BTreeMap;

use serde_json::json;
use testkit::lean_api::LeanApi;
use testkit::process::until_answers;
use testkit::waiting::eventually;
use testkit::{On, TestApp, http};

use crate::monitoring::{documented_metrics, every_role};

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_metric_has_help_and_a_series_before_the_first_webhook() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([]).await;
    let (_running, admin) = every_role(&app, &lean).await;
    let documented = documented_metrics();
    eventually("every metric", async || {
        let url = format!("http://{admin}/metrics");
        let text = http::client().get(&url).send().await.ok()?.text().await.ok()?;
        let lines = |prefix: &str| {
            let named = text.lines().filter_map(|line| line.strip_prefix(prefix)?.split([' ', '{']).next());
            named.fold(BTreeMap::<&str, usize>::new(), |mut counts, name| {
                *counts.entry(name).or_default() += 1;
                counts
            })
        };
        let (help, types, series) = (lines("# HELP "), lines("# TYPE "), lines(""));
        let has = |name: &&str| {
            let sample = series.contains_key(*name) || series.contains_key(format!("{name}_count").as_str());
            help.get(*name) == Some(&1) && types.get(*name) == Some(&1) && sample
        };
        documented.iter().all(has).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_no_user_and_no_server_and_a_role_that_does_not_exist_is_not_found() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let running = app
        .role("worker")
        .env("DATABASE_URL", "postgres://secret-user:pw@127.0.0.1:1/secret-database")
        .env("AMQP_URL", "amqp://secret-user:pw@127.0.0.1:1/secret-vhost")
        .start();
    let admin = running.admin().await;
    let answer = until_answers(&admin, "/readyz/worker", 503).await;
    assert_eq!(answer["roles"]["worker"]["checks"]["process"], "ok");
    let checks = &answer["roles"]["worker"]["checks"];
    assert!(checks["database"].as_str().is_some_and(|cause| cause.starts_with("the database ")), "{answer}");
    for secret in ["secret", "127.0.0.1", "refused"] {
        assert!(!answer.to_string().contains(secret), "{answer}");
    }
    assert_eq!(until_answers(&admin, "/readyz/typo", 404).await, json!(null));
    assert_eq!(until_answers(&admin, "/readyz/relay", 503).await["roles"], json!({}), "it does not run here");
}
