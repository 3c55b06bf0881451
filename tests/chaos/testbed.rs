//! The test bed of a run: private servers, the fleet of processes, the ledger, and the times that the judge needs.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::ensure;
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use serde_json::Value;
use testkit::http;
use testkit::services::Services;
use tokio::process::Child;
use tokio::time::Instant;

use crate::cluster;
use crate::fleet::Fleet;
use crate::instance::{Instance, program};
use crate::judge_queues;
use crate::ledger::Ledger;
use crate::row_images;
use crate::scenario::Scenario;
use crate::settings;

pub(crate) struct Testbed {
    pub(crate) scenario: Scenario,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ledger: Ledger,
    pub(crate) http: reqwest::Client,
    /// One per RabbitMQ node. The first also runs PostgreSQL, if the scenario needs it.
    pub(crate) services: Vec<Services>,
    /// The port mapper of a cluster, which runs until it is dropped.
    _epmd: Option<Child>,
    database_url: String,
    started: Instant,
    /// While this is set, no new webhooks are posted.
    pub(crate) load_paused: AtomicBool,
    /// When the posting of new webhooks ended.
    pub(crate) load_ended: OnceLock<Instant>,
    last_fault: Mutex<Instant>,
    /// When the work queue was deleted.
    pub(crate) queue_deletions: Mutex<Vec<Instant>>,
}

impl Testbed {
    /// Starts the servers and the processes. Logs and the SQLite database are kept in `directory`.
    pub(crate) async fn start(scenario: Scenario, directory: &Path) -> anyhow::Result<Arc<Self>> {
        let (services, epmd) = match scenario {
            Scenario::Postgres => (vec![Services::up("chaos", &["rabbitmq", "postgres"]).await], None),
            Scenario::Sqlite => (vec![Services::up("chaos", &["rabbitmq"]).await], None),
            Scenario::Cluster => {
                let (nodes, epmd) = cluster::start().await?;
                (nodes, Some(epmd))
            }
        };
        let database_url = match scenario {
            Scenario::Sqlite => format!("sqlite://{}?mode=rwc", directory.join("banklink.db").display()),
            Scenario::Postgres | Scenario::Cluster => services[0].database_url.clone(),
        };
        let environment = settings::environment(&services[0].amqp_url, &database_url);
        for arguments in [["migrate", "up"], ["topology", "apply"]] {
            let output = program(&arguments, &environment).output().await?;
            ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut instances = Vec::new();
        for (number, (name, roles)) in scenario.processes().into_iter().enumerate() {
            let amqp_url = &services[number % services.len()].amqp_url;
            instances.push(Instance::new(format!("{name}-{number}"), roles, amqp_url, &database_url).await);
        }
        let testbed = Self {
            scenario,
            fleet: Fleet::new(instances, directory),
            ledger: Ledger::default(),
            http: http::client(),
            services,
            _epmd: epmd,
            database_url,
            started: Instant::now(),
            load_paused: AtomicBool::new(false),
            load_ended: OnceLock::new(),
            last_fault: Mutex::new(Instant::now()),
            queue_deletions: Mutex::default(),
        };
        row_images::create_triggers(&testbed.database().await?).await?;
        judge_queues::declare(testbed.amqp_url()).await?;
        testbed.fleet.start();
        Ok(Arc::new(testbed))
    }

    /// The URL of the first RabbitMQ node, without a proxy.
    pub(crate) fn amqp_url(&self) -> &str {
        &self.services[0].amqp_url
    }

    /// Opens a connection to the database, without a proxy. It is a pool of one, so that settings and locks of the session last.
    pub(crate) async fn database(&self) -> anyhow::Result<DatabaseConnection> {
        let mut options = ConnectOptions::new(&self.database_url);
        options.sqlx_logging(false).max_connections(1).acquire_timeout(Duration::from_secs(20));
        Ok(Database::connect(options).await?)
    }

    /// Columns of `rabbitmqctl list_queues`: one JSON object per queue.
    pub(crate) async fn list_queues(&self, columns: &[&str]) -> anyhow::Result<Vec<Value>> {
        let command = [&["--silent", "--formatter", "json", "list_queues"], columns].concat();
        Ok(serde_json::from_str(&self.services[0].ctl(&command).await)?)
    }

    /// Prints a line of progress.
    pub(crate) fn log(&self, message: &str) {
        eprintln!("{:>6.1} s  {message}", self.age().as_secs_f64());
    }

    /// The time since the start of the run.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Records that a fault has just ended.
    pub(crate) fn record_fault(&self) {
        *self.last_fault.lock().expect("not poisoned") = Instant::now();
    }

    pub(crate) fn last_fault(&self) -> Instant {
        *self.last_fault.lock().expect("not poisoned")
    }
}
