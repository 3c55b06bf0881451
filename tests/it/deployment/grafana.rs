//! What Grafana reads when it starts: in its own format, and about files that the containers have.

use super::{read, run_tool, yaml_documents};

const DASHBOARD: &str = "deploy/grafana/dashboards/banklink.json";
const SOURCES: &str = "deploy/grafana/provisioning/datasources/prometheus.yaml";
const PROVIDERS: &str = "deploy/grafana/provisioning/dashboards/banklink.yaml";

#[tokio::test]
async fn dashboard_and_provisioning_are_in_grafanas_format() {
    for (schema, path) in
        [("grafana-dashboard", DASHBOARD), ("grafana-datasources", SOURCES), ("grafana-dashboards", PROVIDERS)]
    {
        let schema = format!("tests/schemas/{schema}.json");
        if run_tool("check-jsonschema", &["--schemafile", &schema, path]).await.is_none() {
            return;
        }
    }
}

/// A wrong path or name leaves Grafana without dashboard or data, and without an error.
#[tokio::test]
async fn provisioning_names_what_the_containers_have() {
    let (Some(sources), Some(providers)) =
        (yaml_documents(&read(SOURCES)).await, yaml_documents(&read(PROVIDERS)).await)
    else {
        return;
    };
    let Some(compose) = yaml_documents(&read("deploy/compose.monitoring.yaml")).await else { return };
    let services = &compose[0]["services"];
    let url = sources[0]["datasources"][0]["url"].as_str().unwrap();
    let (name, port) = url.strip_prefix("http://").unwrap().split_once(':').unwrap();
    let published = services[name]["ports"][0].as_str().unwrap();
    assert!(published.ends_with(&format!(":{port}")), "{url}: {published}");
    let mounts: Vec<_> = services["grafana"]["volumes"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
    let mount = |source: &str| {
        let mount = mounts.iter().find_map(|mount| mount.strip_prefix(&format!("./grafana/{source}:")));
        mount.unwrap_or_else(|| panic!("{source} is not mounted")).split(':').next().unwrap()
    };
    assert_eq!(mount("provisioning"), "/etc/grafana/provisioning", "where Grafana looks");
    assert_eq!(providers[0]["providers"][0]["options"]["path"], mount("dashboards"));
    let home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert_eq!(home, format!("{}/banklink.json", mount("dashboards")));
}
