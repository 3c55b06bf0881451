//! The processes: several of each role, each with proxies of its own, started again whenever they die.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::proxy::Proxy;

/// How long a process is left dead.
const DEAD_FOR: Duration = Duration::from_millis(500);
/// How long a process may take to drain and end.
const DRAIN: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(50);

/// One place in the fleet, with a process in it most of the time.
pub(crate) struct Slot {
    pub(crate) name: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Between it and RabbitMQ.
    pub(crate) broker: Proxy,
    /// Between it and PostgreSQL.
    pub(crate) database: Option<Proxy>,
    url: Mutex<Option<String>>,
    kill: Notify,
}

/// All of them.
pub(crate) struct Fleet {
    pub(crate) slots: Vec<Arc<Slot>>,
    logs: PathBuf,
    /// Ends that nobody asked for.
    odd_ends: Mutex<Vec<String>>,
    /// A message that aborts workers is under way.
    aborts: AtomicBool,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Slot {
    fn has(&self, role: &str) -> bool {
        self.arguments.len() == 1 || self.arguments.iter().any(|argument| argument == role)
    }

    /// A process of those roles (none: all), on a broker and a database, each through a proxy where it is a server.
    pub(crate) async fn new(
        name: String,
        roles: &[&str],
        settings: &BTreeMap<String, String>,
        amqp_url: &str,
        database_url: &str,
    ) -> Self {
        let broker = Proxy::before(amqp_url).await;
        let database = if database_url.starts_with("sqlite:") { None } else { Some(Proxy::before(database_url).await) };
        let database_url = database.as_ref().map_or(database_url, |proxy| proxy.url.as_str());
        let mut environment = settings.clone();
        environment.insert("AMQP_URL".to_owned(), broker.url.clone());
        environment.insert("DATABASE_URL".to_owned(), database_url.to_owned());
        environment.insert("BANKLINK_ADMIN_LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        if roles.is_empty() || roles.contains(&"ingress") {
            environment.insert("BANKLINK_LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        }
        let arguments = ["run"].iter().chain(roles).map(|argument| (*argument).to_owned()).collect();
        Self { name, arguments, environment, broker, database, url: Mutex::default(), kill: Notify::new() }
    }

    /// kill -9.
    pub(crate) fn kill(&self) {
        self.kill.notify_one();
    }

    fn set_url(&self, url: Option<String>) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    fn start(&self, log: &Path) -> Child {
        let file = std::fs::File::create(log).expect("a log");
        program(&self.arguments, &self.environment)
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("the program starts")
    }

    /// Waits for the log to tell where webhooks are taken in, then for ever.
    async fn until_listening(&self, log: &Path) {
        if !self.environment.contains_key("BANKLINK_LISTEN") {
            std::future::pending::<()>().await;
        }
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let told = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let said = "taking webhooks in at /webhooks/lean";
            if let Some(line) = told.into_iter().find(|line| line["message"] == said) {
                let address = line["listen"].as_str().unwrap_or_default();
                self.set_url(Some(format!("http://{address}/webhooks/lean")));
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The program, in an environment in which nothing else is set.
pub(crate) fn program(arguments: &[String], environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banklink"));
    command.args(arguments).env_clear().envs(environment).stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Fleet {
    /// A fleet of those slots; logs go to that directory.
    pub(crate) fn new(slots: Vec<Slot>, logs: &Path) -> Arc<Self> {
        Arc::new(Self {
            slots: slots.into_iter().map(Arc::new).collect(),
            logs: logs.to_path_buf(),
            odd_ends: Mutex::default(),
            aborts: AtomicBool::new(false),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Starts a process in each slot.
    pub(crate) fn start(self: &Arc<Self>) {
        for slot in &self.slots {
            self.tasks.spawn(Arc::clone(self).keep(Arc::clone(slot)));
        }
    }

    /// Where webhooks are taken in just now.
    pub(crate) fn urls(&self) -> Vec<String> {
        let url = |slot: &Arc<Slot>| slot.url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.slots.iter().filter_map(url).collect()
    }

    /// The slots whose processes have that role.
    pub(crate) fn with(&self, role: &str) -> Vec<&Arc<Slot>> {
        self.slots.iter().filter(|slot| slot.has(role)).collect()
    }

    /// How many lines of all logs say that.
    pub(crate) fn lines_with(&self, what: &str) -> std::io::Result<usize> {
        let mut lines = 0;
        for log in std::fs::read_dir(&self.logs)? {
            let path = log?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                lines +=
                    String::from_utf8_lossy(&std::fs::read(path)?).lines().filter(|line| line.contains(what)).count();
            }
        }
        Ok(lines)
    }

    /// From now on processes with a worker may abort by themselves.
    pub(crate) fn expect_aborts(&self) {
        self.aborts.store(true, Ordering::Relaxed);
    }

    /// Stops every process as a signal would; the ends that nobody asked for, since the start.
    pub(crate) async fn stop(&self) -> Vec<String> {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        std::mem::take(&mut *self.odd_ends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn keep(self: Arc<Self>, slot: Arc<Slot>) {
        for life in 1_u32.. {
            let log = self.logs.join(format!("{}.{life}.log", slot.name));
            let mut child = slot.start(&log);
            tokio::select! {
                ended = child.wait() => self.judge_end(&slot, life, ended.ok()),
                () = slot.until_listening(&log) => {}
                () = slot.kill.notified() => {
                    slot.set_url(None);
                    let _ = child.kill().await;
                }
                () = self.stop.cancelled() => return self.terminate(&slot, life, &mut child).await,
            }
            slot.set_url(None);
            if self.stop.run_until_cancelled(tokio::time::sleep(DEAD_FOR)).await.is_none() {
                return;
            }
        }
    }

    fn judge_end(&self, slot: &Slot, life: u32, status: Option<ExitStatus>) {
        let aborted = status.is_some_and(|status| status.signal() == Some(Signal::ABORT.as_raw()));
        let may_abort = self.aborts.load(Ordering::Relaxed) && slot.has("worker");
        if !(aborted && may_abort) {
            self.note_odd(format!("{} (life {life}) ended by itself: {status:?}", slot.name));
        }
    }

    async fn terminate(&self, slot: &Slot, life: u32, child: &mut Child) {
        slot.set_url(None);
        let Some(pid) = child.id() else { return };
        let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
        match tokio::time::timeout(DRAIN, child.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(status) => {
                self.note_odd(format!("{} (life {life}) was told to stop, and ended with {status:?}", slot.name));
            }
            Err(_) => {
                self.note_odd(format!("{} (life {life}) was told to stop, and did not within {DRAIN:?}", slot.name));
            }
        }
    }

    fn note_odd(&self, end: String) {
        self.odd_ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
    }
}
