//! One instance of the program: its roles, its settings and its proxies. The fleet starts a new process for it after each exit.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use testkit::proxy::Proxy;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::settings;

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The message of the log line that contains the address for webhooks.
const LISTENING: &str = "accepting webhooks at /webhooks/lean";

pub(crate) struct Instance {
    pub(crate) name: String,
    /// Empty means all.
    roles: &'static [&'static str],
    environment: BTreeMap<String, String>,
    /// Between the process and RabbitMQ.
    pub(crate) broker: Proxy,
    /// Between the process and PostgreSQL; `None` with SQLite.
    pub(crate) database: Option<Proxy>,
    /// Where the current process accepts webhooks.
    url: Mutex<Option<String>>,
    /// Notified to have the current process killed with SIGKILL.
    pub(crate) kill: Notify,
}

impl Instance {
    /// Starts a proxy in front of each server, for this instance only.
    pub(crate) async fn new(name: String, roles: &'static [&'static str], amqp_url: &str, database_url: &str) -> Self {
        let broker = Proxy::before(amqp_url).await;
        let database = if database_url.starts_with("sqlite:") { None } else { Some(Proxy::before(database_url).await) };
        let database_url = database.as_ref().map_or(database_url, |proxy| &proxy.url);
        let environment = settings::environment(&broker.url, database_url);
        Self { name, roles, environment, broker, database, url: Mutex::default(), kill: Notify::new() }
    }

    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }

    /// Starts a process that logs to `log`.
    pub(crate) fn start(&self, log: &Path) -> Child {
        let log = File::create(log).expect("a log file");
        let arguments = [&["run"], self.roles].concat();
        program(&arguments, &self.environment)
            .stdout(log.try_clone().expect("a second handle of the log file"))
            .stderr(log)
            .spawn()
            .expect("the program starts")
    }

    /// Where webhooks can be posted; `None` while the process does not accept any.
    pub(crate) fn url(&self) -> Option<String> {
        self.url.lock().expect("not poisoned").clone()
    }

    pub(crate) fn set_url(&self, url: Option<String>) {
        *self.url.lock().expect("not poisoned") = url;
    }

    /// Waits until the log contains the address for webhooks and sets the URL. Never completes.
    pub(crate) async fn watch_log(&self, log: &Path) {
        while self.has_role("ingress") && self.url().is_none() {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.find(|line| line["message"] == LISTENING) {
                let address = line["listen"].as_str().unwrap_or_default();
                self.set_url(Some(format!("http://{address}/webhooks/lean")));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        std::future::pending::<()>().await;
    }
}

/// The program with these arguments, and no environment variables but these.
pub(crate) fn program(arguments: &[&str], environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(testkit::process::program());
    command.args(arguments).env_clear().envs(environment).stdin(Stdio::null()).kill_on_drop(true);
    command
}
