//! Everything that a run has to do with: servers of its own, the fleet of processes, and what was posted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use tokio::time::Instant;

use crate::SECRET;
use crate::audit;
use crate::cluster::{self, Epmd};
use crate::evidence;
use crate::fleet::{Fleet, Slot, program};
use crate::ledger::Ledger;
use crate::plan::Scenario;
use crate::services::Services;

pub(crate) const NAMESPACE: &str = "chaos";
/// The retry schedule.
pub(crate) const TIERS: [&str; 3] = ["1s", "2s", "4s"];
/// Small, so that a message that aborts workers comes to an end; large enough for the deaths that are nobody's fault.
const DELIVERY_LIMIT: &str = "8";

/// A running world.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ledger: Ledger,
    pub(crate) http: reqwest::Client,
    /// RabbitMQ's nodes; the first instance holds PostgreSQL as well, where there is one.
    pub(crate) brokers: Vec<Services>,
    _epmd: Option<Epmd>,
    database_url: String,
    began: Instant,
    /// Nothing is posted for a moment.
    held: AtomicBool,
    load_ended: Mutex<Option<Instant>>,
    last_fault: Mutex<Instant>,
    deletions: Mutex<Vec<Instant>>,
}

impl World {
    /// Brings everything up; logs, and SQLite's file, go to `directory`.
    pub(crate) async fn begin(scenario: Scenario, directory: &Path) -> anyhow::Result<Arc<Self>> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (brokers, epmd) = match scenario {
            Scenario::Postgres => (vec![Services::up("chaos", &["rabbitmq", "postgres"]).await], None),
            Scenario::Sqlite => (vec![Services::up("chaos", &["rabbitmq"]).await], None),
            Scenario::Cluster => cluster::up().await?,
        };
        let database_url = match scenario {
            Scenario::Sqlite => format!("sqlite://{}?mode=rwc", directory.join("banklink.db").display()),
            Scenario::Postgres | Scenario::Cluster => brokers[0].database_url.clone(),
        };
        let settings = settings();
        for command in [["migrate", "up"], ["topology", "apply"]] {
            let mut environment = settings.clone();
            environment.insert("AMQP_URL".to_owned(), brokers[0].amqp_url.clone());
            environment.insert("DATABASE_URL".to_owned(), database_url.clone());
            let output = program(&command.map(str::to_owned), &environment).output().await?;
            ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut slots = Vec::new();
        for (number, (name, roles)) in scenario.processes().into_iter().enumerate() {
            let broker = &brokers[number % brokers.len()].amqp_url;
            slots.push(Slot::new(format!("{name}-{number}"), roles, &settings, broker, &database_url).await);
        }
        let world = Self {
            scenario,
            fleet: Fleet::new(slots, directory),
            ledger: Ledger::default(),
            http: reqwest::Client::new(),
            brokers,
            _epmd: epmd,
            database_url,
            began: Instant::now(),
            held: AtomicBool::new(false),
            load_ended: Mutex::default(),
            last_fault: Mutex::new(Instant::now()),
            deletions: Mutex::default(),
        };
        audit::begin(&world.database().await?).await?;
        evidence::listen(&world).await?;
        world.fleet.start();
        Ok(Arc::new(world))
    }

    /// The database, past every proxy.
    pub(crate) async fn database(&self) -> anyhow::Result<DatabaseConnection> {
        let mut options = ConnectOptions::new(&self.database_url);
        // One connection, so that a session's settings and locks stay where they are.
        options.sqlx_logging(false).max_connections(1).acquire_timeout(Duration::from_secs(20));
        Ok(Database::connect(options).await?)
    }

    pub(crate) fn say(&self, what: &str) {
        eprintln!("{:>6.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Holds the load back.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// Lets it go on.
    pub(crate) fn let_go(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn end_load(&self) {
        *self.load_ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(crate) fn load_ended(&self) -> Option<Instant> {
        *self.load_ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_fault(&self) {
        *self.last_fault.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(crate) fn last_fault(&self) -> Instant {
        *self.last_fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A queue has just been deleted.
    pub(crate) fn note_deletion(&self) {
        self.deletions.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }

    pub(crate) fn deletions(&self) -> Vec<Instant> {
        self.deletions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What every process is given.
fn settings() -> BTreeMap<String, String> {
    let settings = [
        ("BANKLINK_NAMESPACE", NAMESPACE),
        ("BANKLINK_RETRY_SCHEDULE", &TIERS.join(",")),
        ("BANKLINK_DELIVERY_LIMIT", DELIVERY_LIMIT),
        ("BANKLINK_INGRESS_DEADLINE", "2s"),
        ("BANKLINK_LOG_FORMAT", "json"),
        ("LEAN_WEBHOOK_SECRETS", SECRET),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect()
}

/// Where a run keeps its logs.
pub(crate) fn directory(scenario: Scenario, seed: u64) -> std::io::Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{scenario}-{seed}"));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
