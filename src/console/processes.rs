//! What the other processes say about themselves at their admin addresses: whether their roles are ready, and how much they have done.
//!
//! Metrics are counters of one process, so counts by minute are differences between two answers of it, since the console started.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, redirect};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::minutes::Minutes;
use super::scrape::Counters;

/// How often the processes are asked.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a process may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// Maximum number of processes that are asked.
const MAX_PROCESSES: usize = 64;
/// A longer answer is cut.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// What a process said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Its admin address.
    pub(super) address: String,
    /// Its roles, and of each the checks that fail; `None` if it does not answer.
    pub(super) roles: Option<Vec<(String, Vec<String>)>>,
}

/// What is known of all processes.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) processes: Vec<Process>,
    /// Webhooks answered 200.
    pub(super) webhooks: Minutes,
    /// Events confirmed by RabbitMQ.
    pub(super) events: Minutes,
    /// The counters of each process at its last answer.
    counters: BTreeMap<SocketAddr, Counters>,
}

/// Asks the processes.
pub(super) struct Processes {
    addresses: Vec<String>,
    http: Client,
    known: Mutex<Known>,
}

impl Processes {
    pub(super) fn new(addresses: Vec<String>) -> Result<Self, reqwest::Error> {
        // reqwest is built without a TLS provider and uses the process's default. It fails only if one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(DEADLINE).build()?;
        Ok(Self { addresses, http, known: Mutex::default() })
    }

    /// What is known now.
    pub(super) fn known(&self) -> Known {
        self.lock().clone()
    }

    /// Asks again and again, without end.
    pub(super) async fn run(&self) {
        loop {
            self.step().await;
            sleep(INTERVAL).await;
        }
    }

    /// Asks every process once.
    pub(super) async fn step(&self) {
        let found = join_all(self.addresses.iter().map(|address| self.resolve(address))).await;
        let asked = found.into_iter().flatten().take(MAX_PROCESSES);
        let answers = join_all(asked.map(async |(name, socket)| (name, socket, self.ask(socket).await))).await;
        let (mut known, now) = (self.lock(), chrono::Utc::now());
        let (mut processes, mut counters) = (Vec::new(), BTreeMap::new());
        for (address, socket, answer) in answers {
            let (roles, counted) = answer.unzip();
            if let (Some(socket), Some(counted)) = (socket, counted) {
                // The first answer of a process says what it did before, not when.
                let since = known.counters.get(&socket).map(|before| counted.since(before)).unwrap_or_default();
                known.webhooks.add(now, since.webhooks);
                known.events.add(now, since.events);
                counters.insert(socket, counted);
            }
            processes.push(Process { address, roles });
        }
        processes.sort_by(|one, other| one.address.cmp(&other.address));
        (known.processes, known.counters) = (processes, counters);
    }

    /// The addresses that a name stands for: one for each replica.
    async fn resolve(&self, address: &str) -> Vec<(String, Option<SocketAddr>)> {
        let resolved = timeout(DEADLINE, tokio::net::lookup_host(address)).await;
        let sockets: Vec<SocketAddr> = resolved.ok().and_then(Result::ok).into_iter().flatten().collect();
        match sockets.as_slice() {
            [] => vec![(address.to_owned(), None)],
            [socket] => vec![(address.to_owned(), Some(*socket))],
            several => several.iter().map(|socket| (format!("{address} ({socket})"), Some(*socket))).collect(),
        }
    }

    async fn ask(&self, socket: Option<SocketAddr>) -> Option<(Vec<(String, Vec<String>)>, Counters)> {
        let socket = socket?;
        let (readiness, metrics) = tokio::join!(self.get(socket, "/readyz"), self.get(socket, "/metrics"));
        Some((roles(&readiness?)?, Counters::read(&String::from_utf8_lossy(&metrics?))))
    }

    async fn get(&self, socket: SocketAddr, path: &str) -> Option<Vec<u8>> {
        let mut response = self.http.get(format!("http://{socket}{path}")).send().await.ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                break;
            }
        }
        Some(body)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The roles in an answer of `/readyz`, and of each the checks that fail.
fn roles(answer: &[u8]) -> Option<Vec<(String, Vec<String>)>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let roles = answer["roles"].as_object()?.iter().map(|(role, state)| {
        let checks = state["checks"].as_object().into_iter().flatten();
        let failed = checks.filter_map(|(name, result)| {
            let result = result.as_str().filter(|result| *result != "ok")?;
            Some(format!("{name}: {result}"))
        });
        (role.clone(), failed.collect())
    });
    Some(roles.collect())
}
