//! The alert rules: each is explained, tested, and only about metrics that exist.

use std::collections::BTreeSet;

use testkit::prometheus::{Prometheus, folder, promtool};

use super::{FOREIGN_METRICS, documented_metrics, metrics_in};

const RUNBOOK: &str = include_str!("../../../deploy/RUNBOOK.md");
const TESTS: [&str; 3] = ["banklink.rules.test.yaml", "banklink.rules.two.test.yaml", "banklink.rules.week.test.yaml"];

/// The anchors of the runbook's headings, as GitHub makes them.
fn anchors() -> BTreeSet<String> {
    let headings = RUNBOOK.lines().filter_map(|line| line.strip_prefix("## "));
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_fires_and_is_quiet_as_its_tests_say() {
    let arguments: Vec<&str> = ["test", "rules"].into_iter().chain(TESTS).collect();
    let Some(output) = promtool(&arguments, "").await else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_is_explained_and_tested_and_leads_to_a_section_of_the_runbook() {
    let Some(prometheus) = Prometheus::start(&[]).await else { return };
    let (anchors, metrics, alerts) = (anchors(), documented_metrics(), prometheus.alerts().await);
    let tests = TESTS.map(|test| std::fs::read_to_string(folder().join(test)).unwrap()).concat();
    assert!(alerts.len() > 15, "{alerts:?}");
    for alert in &alerts {
        let name = alert["name"].as_str().unwrap();
        let annotation = |key: &str| alert["annotations"][key].as_str().unwrap_or_else(|| panic!("{name}: no {key}"));
        assert!(!annotation("summary").is_empty() && !annotation("description").is_empty(), "{name}");
        assert!(["warning", "critical"].map(Some).contains(&alert["labels"]["severity"].as_str()), "{name}");
        let (runbook, anchor) = annotation("runbook_url").split_once('#').unwrap();
        assert!(runbook.ends_with("/deploy/RUNBOOK.md") && anchors.contains(anchor), "{name}: {runbook}#{anchor}");
        for metric in metrics_in(alert["query"].as_str().unwrap()) {
            assert!(metrics.contains(metric) || FOREIGN_METRICS.contains(&metric), "{name}: {metric}");
        }
        for test in ["fires", "is quiet"] {
            assert!(tests.contains(&format!("name: {name} {test}\n")), "{name}: no test that it {test}");
        }
    }
    let used: BTreeSet<_> = alerts.iter().flat_map(|alert| metrics_in(alert["query"].as_str().unwrap())).collect();
    let (_, table) = RUNBOOK.split_once("## What to alert on").unwrap();
    let rows = table.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
    for metric in rows.filter_map(|row| row.split(['`', '{']).next()) {
        assert!(used.contains(metric), "no alert on {metric}");
    }
}
