//! What deploy/prometheus and deploy/grafana say about the metrics of docs/CONTRACT.md#8-metrics.

mod alerts;
mod dashboard;
mod exposition;

use std::collections::BTreeSet;

use testkit::app::API_TOKEN;
use testkit::lean_api::LeanApi;
use testkit::process::{Running, until_answers};
use testkit::{SECRET, TestApp};

/// The metrics of RabbitMQ's plugin for Prometheus that rules and panels read, from the job `rabbitmq` of prometheus.yaml.
const FOREIGN_METRICS: [&str; 2] = ["rabbitmq_detailed_queue_consumers", "rabbitmq_detailed_queue_messages_ready"];

/// Every role in one process, once it is ready, and the address of its metrics.
pub(crate) async fn every_role(app: &TestApp, lean: &LeanApi) -> (Running, String) {
    every_role_at(app, lean, &testkit::amqp_url()).await
}

/// As [`every_role`], with another RabbitMQ.
async fn every_role_at(app: &TestApp, lean: &LeanApi, amqp_url: &str) -> (Running, String) {
    let command = app.lean_command(lean, &["run", "ingress", "worker", "relay", "api", "reconciler"]).on_free_ports();
    let command = command.env("LEAN_WEBHOOK_SECRETS", SECRET).env("BANKLINK_API_TOKENS", API_TOKEN);
    let running = command.env("AMQP_URL", amqp_url).start();
    let admin = running.admin().await;
    until_answers(&admin, "/readyz", 200).await;
    (running, admin)
}

/// The metrics of docs/CONTRACT.md, section 8.
pub(crate) fn documented_metrics() -> BTreeSet<&'static str> {
    let contract = include_str!("../../../docs/CONTRACT.md");
    let (_, section) = contract.split_once("## 8. Metrics").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    let metrics: BTreeSet<_> = rows.collect();
    assert!(metrics.len() > 15, "{metrics:?}");
    metrics
}

/// The metrics of banklink and RabbitMQ that an expression reads. Recorded series (`banklink:...`) are not metrics.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let is_metric = |word: &&str| ["banklink_", "rabbitmq_"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(is_metric).map(|word| word.strip_suffix("_bucket").unwrap_or(word)).collect()
}
