//! The Grafana dashboard: each panel is explained, and shows data of a program that works.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::app::ApiClient;
use testkit::lean_api::LeanApi;
use testkit::prometheus::Prometheus;
use testkit::services::Services;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures, http};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{FOREIGN_METRICS, documented_metrics, every_role_at, metrics_in};

const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboards/banklink.json");

/// The panels that show something, in the order of the dashboard, each with the title of its row.
fn panels() -> Vec<(String, Value)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut row, mut panels) = (String::new(), Vec::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        match panel["type"].as_str().unwrap() {
            "row" => row = panel["title"].as_str().unwrap().to_owned(),
            _ => panels.push((row.clone(), panel.clone())),
        }
    }
    panels
}

/// The queries of a panel, with Grafana's variables filled in: those of the dashboard as they are when "All" is chosen.
fn queries(panel: &Value) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let filled_in = |query: &str| {
        variables
            .iter()
            .filter_map(|variable| Some((&variable["name"], variable["allValue"].as_str()?)))
            .fold(query.replace("$__rate_interval", "1m"), |query, (name, all)| {
                query.replace(&format!("${}", name.as_str().unwrap()), all)
            })
    };
    let targets = panel["targets"].as_array().unwrap().iter();
    targets.map(|target| filled_in(target["expr"].as_str().unwrap())).collect()
}

#[test]
fn every_panel_has_a_description_and_a_unit_and_every_metric_has_a_panel() {
    let panels = panels();
    assert_eq!(panels[0].0, "Is it working?");
    let texts = panels.iter().map(|(_, panel)| {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title}: no description");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].as_str().is_some_and(|unit| !unit.is_empty()),
            "{title}: no unit"
        );
        queries(panel).join("\n")
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    let (foreign, own): (BTreeSet<_>, _) = metrics_in(&text).into_iter().partition(|m| FOREIGN_METRICS.contains(m));
    assert_eq!(own, documented_metrics(), "shown, and documented");
    assert_eq!(foreign, BTreeSet::from([FOREIGN_METRICS[1]]));
    let first: Vec<_> = panels.iter().filter(|(_, panel)| panel["gridPos"]["y"] == 1).collect();
    assert!(first.iter().any(|(_, panel)| panel["title"] == "Webhooks waiting"), "the queue is in the first row");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_accepted_webhooks_is_unknown_while_none_arrives_and_other_jobs_do_not_count() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let worker = app.role("ingress").start();
    let Some(prometheus) = Prometheus::start(&[&worker.admin().await]).await else { return };
    until("a scraped process", async || prometheus.query(r#"up{job="banklink"}"#).await == [1.0]).await;
    let panels = panels();
    let query = |title: &str| {
        let (_, panel) = panels.iter().find(|(_, panel)| panel["title"] == title).unwrap();
        queries(panel).remove(0)
    };
    let accepted = query("Webhooks accepted");
    assert!(prometheus.query(&accepted).await.is_empty(), "{accepted}");
    let not_scraped = query("Processes not scraped");
    assert!(not_scraped.contains(r#"job=~"banklink.*""#), "{not_scraped}");
    app.finish_with_leftovers().await;
}

#[test]
fn panels_do_not_overlap_and_fill_at_most_the_width() {
    let mut cells = BTreeSet::new();
    for (_, panel) in panels() {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for y in at("y")..at("y") + at("h") {
            for x in at("x")..at("x") + at("w") {
                assert!(x < 24 && cells.insert((x, y)), "{}", panel["title"]);
            }
        }
    }
}

/// One of everything: webhooks of each outcome, a missing one that Lean lists, a wrong signature, and requests to the read API.
async fn load(app: &TestApp, url: &str, api: &ApiClient) {
    let entity = Uuid::new_v4();
    let created = fixtures::created(entity);
    let ignored = json!({ "type": "results.ready", "payload": {} });
    let mut unreadable = fixtures::created(Uuid::new_v4());
    unreadable["payload"]["bank_details"]["logo"] = json!(7);
    for webhook in [created.clone(), created, ignored, unreadable, json!({ "type": "entity.created" })] {
        http::post(url, &webhook).await.assert_accepted();
    }
    let wrong = fixtures::signature("another-secret-of-16", b"{}");
    let refused = app.http.post(url).header("lean-signature", wrong).body("{}").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    api.answer(&format!("/v1/bank-links/{entity}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_panel_is_empty_while_the_program_works() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([fixtures::created(Uuid::new_v4())]).await;
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let rabbitmq = vec![
        ("BANKLINK_RABBITMQ_EXTRA_CONF", format!("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}")),
        ("BANKLINK_RABBITMQ_PLUGINS", "rabbitmq_prometheus".to_owned()),
    ];
    let services = Services::up_with("dashboard", &["rabbitmq"], rabbitmq).await;
    let (running, admin) = every_role_at(&app, &lean, &services.amqp_url).await;
    let prometheus = Prometheus::start_for_containers(&[&admin], &format!("127.0.0.1:{port}")).await;
    let Some(prometheus) = prometheus else { return };
    let (url, api) = (running.url().await, ApiClient::at(&running.api().await));
    let mut looked_at = 0;
    for (_, panel) in panels() {
        for query in queries(&panel) {
            until(&format!("data in the panel {}: {query}", panel["title"]), async || {
                let has_data = prometheus.query(&query).await.iter().any(|value| value.is_finite());
                if !has_data {
                    load(&app, &url, &api).await;
                }
                has_data
            })
            .await;
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "{looked_at} queries");
    for metric in FOREIGN_METRICS {
        until(metric, async || !prometheus.query(metric).await.is_empty()).await;
    }
    app.finish_with_leftovers().await;
}
