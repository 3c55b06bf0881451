//! `/metrics` as Prometheus wants it, and the configuration files.

use testkit::lean_api::LeanApi;
use testkit::prometheus::promtool;
use testkit::{On, TestApp, http};

use super::every_role;

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_every_role_are_clean_under_promtool() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([]).await;
    let (_running, admin) = every_role(&app, &lean).await;
    let response = http::client().get(format!("http://{admin}/metrics")).send().await.unwrap();
    let text = response.text().await.unwrap();
    let Some(output) = promtool(&["check", "metrics"], &text).await else { return };
    let complaints = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && complaints.is_empty(), "{}", String::from_utf8_lossy(&complaints));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configurations_of_prometheus_are_valid() {
    let arguments = ["check", "config", "prometheus.yaml", "prometheus.host.yaml"];
    let Some(output) = promtool(&arguments, "").await else { return };
    assert!(output.status.success(), "{output:?}");
}
