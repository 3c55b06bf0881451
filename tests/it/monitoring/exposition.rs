//! `/metrics` as Prometheus wants it, and the configuration files.

use testkit::lean_api::LeanApi;
use testkit::prometheus::{Prometheus, promtool};
use testkit::waiting::until;
use testkit::{On, TestApp, http};

use super::every_role;

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_every_role_are_clean_under_promtool() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([]).await;
    let (_running, admin) = every_role(&app, &lean).await;
    let response = http::client().get(format!("http://{admin}/metrics")).send().await.unwrap();
    let text = response.text().await.unwrap();
    for metric in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"] {
        assert!(text.contains(&format!("# HELP process_{metric} ")), "{metric} is missing");
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("process_{metric} "))).unwrap();
        assert!(value.parse::<f64>().unwrap() >= 0.0, "{metric}: {value}");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_a_process_on_its_host() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let worker = app.role("worker").start();
    let Some(prometheus) = Prometheus::start(&[&worker.admin().await]).await else { return };
    until("a scraped process", async || prometheus.query(r#"up{job="banklink"}"#).await == [1.0]).await;
    until("the recorded installation", async || prometheus.query("banklink:installation").await == [1.0]).await;
    app.finish_with_leftovers().await;
}
