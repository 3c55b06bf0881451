//! Programs under measurement, as processes: started, watched from outside, stopped.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Bench;
use crate::http::Client;
use crate::place::Place;

/// How long a start, a stop, or a command may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Log lines that are kept.
const KEPT: usize = 200;
/// And those of them that are shown when something fails.
const SHOWN: usize = 5;
/// How often a log or a process is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(1);
/// What an ingress says once it listens, a ceiling as well.
pub(crate) const LISTENING: &str = "taking webhooks in at /webhooks/lean";
/// The secret that posts are signed with.
pub(crate) const SECRET: &str = "bench-secret";

/// A process that runs. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    pub(crate) started: Instant,
}

/// banklink with arguments, on that place and otherwise with its defaults.
pub(crate) fn banklink(bench: &Bench, place: &Place, arguments: &[&str]) -> Command {
    let mut command = program(&bench.settings.program, place);
    command.args(arguments);
    command
}

/// A ceiling: this program itself.
pub(crate) fn ceiling(place: &Place, arguments: &[&str]) -> Result<Command> {
    let mut command = program(&std::env::current_exe()?, place);
    command.args(arguments);
    Ok(command)
}

fn program(path: &Path, place: &Place) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("AMQP_URL", &place.amqp_url)
        .env("DATABASE_URL", &place.database_url)
        .env("BANKLINK_NAMESPACE", &place.namespace)
        .env("BANKLINK_LISTEN", "127.0.0.1:0")
        .env("BANKLINK_ADMIN_LISTEN", "127.0.0.1:0")
        .env("BANKLINK_LOG_FORMAT", "json")
        .env("LEAN_WEBHOOK_SECRETS", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Runs a short command to its end; what it printed, which is not much.
pub(crate) async fn output(command: Command) -> Result<String> {
    output_within(command, DEADLINE).await
}

/// The same for a command that may take `within`.
pub(crate) async fn output_within(mut command: Command, within: Duration) -> Result<String> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
    let deadline = Instant::now() + within;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
        }
        tokio::time::sleep(LOOK).await;
    }
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stderr = child.stderr.take().context("no stderr")?;
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = Arc::clone(&log);
        // Ends with the process. Reading must never stop, or the process would stop for it.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == KEPT {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Ok(Self { child, log, started })
    }

    /// Waits for the log line with that message, no longer than `within`, and looks for it once in a `look`.
    pub(crate) async fn told(&mut self, message: &str, within: Duration, look: Duration) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(line) = self.find(message) {
                return Ok(line);
            }
            // Its last lines may come after its end.
            if !self.runs()? {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return self.find(message).with_context(|| format!("a process ended early:\n{}", self.log()));
            }
            ensure!(Instant::now() < deadline, "{message:?} was not said within {within:?}:\n{}", self.log());
            tokio::time::sleep(look).await;
        }
    }

    /// Where it answers probes.
    pub(crate) async fn admin(&mut self) -> Result<Client> {
        let told = self.told("probes and metrics", DEADLINE, LOOK).await?;
        Client::connect(told["listen"].as_str().context("no address")?).await
    }

    /// Waits until it is ready, and says how to ask it more.
    pub(crate) async fn ready(&mut self) -> Result<Client> {
        let mut admin = self.admin().await?;
        let deadline = Instant::now() + DEADLINE;
        while admin.get("/readyz").await?.0 != 200 {
            ensure!(Instant::now() < deadline, "not ready within {DEADLINE:?}:\n{}", self.log());
            tokio::time::sleep(LOOK).await;
        }
        Ok(admin)
    }

    /// Where it takes webhooks in.
    pub(crate) async fn ingress(&mut self) -> Result<String> {
        let told = self.told(LISTENING, DEADLINE, LOOK).await?;
        Ok(told["listen"].as_str().context("no address")?.to_owned())
    }

    /// Its largest resident size so far, in MB.
    pub(crate) fn peak_megabytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
        let kibibytes: f64 = peak.context("the kernel does not tell")?;
        Ok(kibibytes * 1024.0 / 1e6)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        ensure!(asked.context("cannot run kill")?.success(), "a process is gone already:\n{}", self.log());
        let deadline = Instant::now() + DEADLINE;
        while self.runs()? {
            ensure!(Instant::now() < deadline, "a process does not stop:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What it said last.
    pub(crate) fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().skip(log.len().saturating_sub(SHOWN)).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn find(&self, message: &str) -> Option<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == message)
    }

    fn runs(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            None => Ok(true),
            Some(status) if status.success() => Ok(false),
            Some(status) => bail!("a process failed ({status}):\n{}", self.log()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
