//! Debian's Prometheus with the configuration files and the alert rules of deploy/prometheus.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::tool::find_tool;
use crate::waiting::{eventually, within};
use crate::{http, repository};

/// How often it scrapes, and evaluates the rules.
const INTERVAL: &str = "500ms";

/// A running Prometheus, with an empty database. Dropping it ends it.
pub struct Prometheus {
    origin: String,
    http: reqwest::Client,
    _data: TempDir,
    _process: Child,
}

impl Prometheus {
    /// Starts Prometheus with prometheus.host.yaml, in which the addresses `targets` and shorter intervals take the place of those for an
    /// operator. `None`, and a note on stderr, where it is neither installed nor can be.
    pub async fn start(targets: &[&str]) -> Option<Self> {
        let text = file("prometheus.host.yaml");
        Self::start_with(&replaced(&text, r#"["127.0.0.1:9464"]"#, &serde_json::json!(targets).to_string())).await
    }

    /// As [`Prometheus::start`], with prometheus.yaml, in which `targets` take the place of the containers, and `rabbitmq` that of RabbitMQ.
    pub async fn start_for_containers(targets: &[&str], rabbitmq: &str) -> Option<Self> {
        let text = file("prometheus.yaml");
        let (before, discovery) = text.split_once("    dns_sd_configs:\n").expect("the containers are found by name");
        let (_, after) = discovery.split_once("\n\n").expect("another job");
        let targets = serde_json::json!([{ "targets": targets }]);
        let text = format!("{before}    static_configs: {targets}\n\n{after}");
        Self::start_with(&replaced(&text, "rabbitmq:15692", rabbitmq)).await
    }

    async fn start_with(configuration: &str) -> Option<Self> {
        let program = find("prometheus").await?;
        let data = tempfile::tempdir().expect("a directory");
        let (rules, log) = (folder().join("banklink.rules.yaml"), data.path().join("log"));
        let configuration = replaced(configuration, "[banklink.rules.yaml]", &format!("[{}]", rules.display()));
        let file = data.path().join("prometheus.yaml");
        std::fs::write(&file, replaced(&configuration, "_interval: 15s", &format!("_interval: {INTERVAL}")))
            .expect("a file");
        let process = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("tsdb").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a file"))
            .kill_on_drop(true)
            .spawn()
            .expect("Prometheus can be started");
        let address = eventually("an address in Prometheus's log", async || {
            let log = std::fs::read_to_string(&log).ok()?;
            let line = log.lines().find(|line| line.contains("\"Listening on\""))?;
            Some(line.split_once("address=")?.1.split_whitespace().next()?.to_owned())
        })
        .await;
        let prometheus =
            Self { origin: format!("http://{address}"), http: http::client(), _data: data, _process: process };
        eventually("a ready Prometheus", async || prometheus.get("/api/v1/rules", &[]).await).await;
        Some(prometheus)
    }

    /// The `data` of the answer of its HTTP API; `None` if that is an error.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let mut url = url::Url::parse(&format!("{}{path}", self.origin)).expect("a URL");
        url.query_pairs_mut().extend_pairs(query);
        let response = self.http.get(url).send().await.ok()?;
        let mut answer: Value = serde_json::from_slice(&response.bytes().await.ok()?).ok()?;
        (answer["status"] == "success").then(|| answer["data"].take())
    }

    /// The values of the series that a query returns now.
    ///
    /// # Panics
    /// If the query is wrong.
    pub async fn query(&self, query: &str) -> Vec<f64> {
        let data = self.get("/api/v1/query", &[("query", query)]).await;
        let data = data.unwrap_or_else(|| panic!("not a query: {query}"));
        let series = data["result"].as_array().expect("series").iter();
        series.filter_map(|series| series["value"][1].as_str()?.parse().ok()).collect()
    }

    /// Every alert rule.
    ///
    /// # Panics
    /// If Prometheus answers otherwise than documented.
    pub async fn alerts(&self) -> Vec<Value> {
        let data = self.get("/api/v1/rules", &[("type", "alert")]).await.expect("rules");
        let groups = data["groups"].as_array().expect("groups").iter();
        groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }
}

/// A file of [`folder`].
fn file(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("a configuration of Prometheus")
}

/// `text` with `new` for each `old`, of which there must be one.
fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "there is no {old} in {text}");
    text.replace(old, new)
}

/// The folder of Prometheus's configuration in the repository.
#[must_use]
pub fn folder() -> PathBuf {
    repository().join("deploy/prometheus")
}

/// The output of `promtool` with `arguments`, run in [`folder`] with `input`. `None`, and a note on stderr, where it cannot be had.
pub async fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    let program = find("promtool").await?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder()).kill_on_drop(true);
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool");
    let (mut stdin, input) = (process.stdin.take().expect("piped"), input.to_owned());
    tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await });
    Some(within(process.wait_with_output()).await.expect("the output of promtool"))
}

async fn find(name: &str) -> Option<PathBuf> {
    let program = find_tool(name).await;
    if program.is_none() {
        eprintln!("{name} cannot be had here, so this test of metrics and alerts DID NOT RUN");
    }
    program
}
