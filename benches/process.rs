//! The programs under measurement as child processes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http::Client;

/// Deadline of a start, a stop, or a short command.
const DEADLINE: Duration = Duration::from_secs(30);
/// How many log lines are kept.
const LOG_LINES: usize = 200;
/// How many of them an error message contains.
const SHOWN_LOG_LINES: usize = 5;
/// How often a log or a process is polled.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The log message of an ingress that listens; the ceiling logs the same.
pub(crate) const LISTENING: &str = "accepting webhooks at /webhooks/lean";

/// A running process. Dropping it kills the process.
pub(crate) struct Running {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    pub(crate) started: Instant,
}

/// Runs a short command to its end, and returns its output.
pub(crate) async fn output(command: Command) -> Result<String> {
    output_within(command, DEADLINE).await
}

/// Runs a command with this deadline to its end, and returns its output.
pub(crate) async fn output_within(mut command: Command, deadline: Duration) -> Result<String> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
    let deadline = Instant::now() + deadline;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", stderr.trim());
    Ok(String::from_utf8(output.stdout)?)
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stderr = child.stderr.take().context("no stderr")?;
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let lines = Arc::clone(&log);
        // Ends with the process. It must read all the time: the process blocks when the pipe is full.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LOG_LINES {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
        Ok(Self { child, log, started })
    }

    /// Waits for a log line with this message, and polls the log for it every `poll_interval`.
    pub(crate) async fn logged(&mut self, message: &str, within: Duration, poll_interval: Duration) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(line) = self.find(message) {
                return Ok(line);
            }
            // The last lines may be read after the process has ended.
            if !self.is_running()? {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return self.find(message).with_context(|| format!("a process ended early:\n{}", self.log()));
            }
            ensure!(Instant::now() < deadline, "{message:?} was not logged within {within:?}:\n{}", self.log());
            tokio::time::sleep(poll_interval).await;
        }
    }

    /// Connects to the admin server.
    pub(crate) async fn admin(&mut self) -> Result<Client> {
        let line = self.logged("serving probes and metrics", DEADLINE, POLL_INTERVAL).await?;
        Client::connect(line["listen"].as_str().context("no address")?).await
    }

    /// Waits until the process is ready, and returns a connection to its admin server.
    pub(crate) async fn ready(&mut self) -> Result<Client> {
        let mut admin = self.admin().await?;
        let deadline = Instant::now() + DEADLINE;
        while admin.get("/readyz").await?.0 != 200 {
            ensure!(Instant::now() < deadline, "not ready within {DEADLINE:?}:\n{}", self.log());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(admin)
    }

    /// The address of the ingress.
    pub(crate) async fn ingress(&mut self) -> Result<String> {
        let line = self.logged(LISTENING, DEADLINE, POLL_INTERVAL).await?;
        Ok(line["listen"].as_str().context("no address")?.to_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The maximum resident size so far, in MB.
    pub(crate) fn peak_megabytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
        let kibibytes: f64 = peak.context("the kernel reports no VmHWM")?;
        Ok(kibibytes * 1024.0 / 1e6)
    }

    /// Sends SIGTERM, and waits until the process has ended with status 0.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        ensure!(killed.context("cannot run kill")?.success(), "a process had already ended:\n{}", self.log());
        let deadline = Instant::now() + DEADLINE;
        while self.is_running()? {
            ensure!(Instant::now() < deadline, "a process does not stop:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The last log lines.
    pub(crate) fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().skip(log.len().saturating_sub(SHOWN_LOG_LINES)).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn find(&self, message: &str) -> Option<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == message)
    }

    fn is_running(&mut self) -> Result<bool> {
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
