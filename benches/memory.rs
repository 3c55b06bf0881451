//! The maximum resident size of each role at full load: each in a process of its own, and all in one process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use crate::args::Database;
use crate::bench::Bench;
use crate::process::Running;
use crate::report::{Figure, format_value};
use crate::sandbox::Sandbox;
use crate::{load, progress, webhook};

const CONNECTIONS: usize = 256;
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Deadline for handling the whole load.
const DEADLINE: Duration = Duration::from_secs(300);

/// The roles of one process. They are measured in this order, and each consumes what the one before produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Ingress,
    Worker,
    Relay,
    All,
}

impl Role {
    pub(crate) const EACH: [Self; 4] = [Self::Ingress, Self::Worker, Self::Relay, Self::All];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Worker => "worker",
            Self::Relay => "relay",
            Self::All => "all roles",
        }
    }

    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Ingress => &["run", "ingress"],
            Self::Worker => &["run", "worker"],
            Self::Relay => &["run", "relay"],
            Self::All => &["run"],
        }
    }
}

/// The bodies that are posted.
#[derive(Clone, Copy, Debug)]
struct Bodies {
    name: &'static str,
    body: fn(Uuid) -> String,
    count: usize,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let count = bench.settings.count as usize;
    let small = Bodies { name: "small bodies", body: webhook::created, count };
    let large = Bodies { name: "250 KB", body: webhook::large, count: bench.settings.large as usize };
    let mut figures = Vec::new();
    for bodies in [small, large] {
        let mut peaks: [Vec<f64>; 4] = Default::default();
        for _ in 0..bench.settings.repeat {
            let sandbox = bench.sandbox(Database::Postgres).await?;
            for (role, peaks) in Role::EACH.into_iter().zip(&mut peaks) {
                let what = format!("memory, {}, {}", role.name(), bodies.name);
                let peak = peak(bodies, &sandbox, role, &what).await.context(what.clone())?;
                progress::print(&format!("{what}: {} MB", format_value(peak)));
                peaks.push(peak);
            }
            bench.remove(&sandbox).await;
        }
        let name = |role: Role| format!("memory, {}, {}, peak", role.name(), bodies.name);
        figures.extend(peaks.into_iter().zip(Role::EACH).map(|(peaks, role)| Figure::new(name(role), "MB", peaks)));
    }
    Ok(figures)
}

/// The peak of a process with this role under load, in MB.
async fn peak(bodies: Bodies, sandbox: &Sandbox, role: Role, what: &str) -> Result<f64> {
    let (spinner, count) = (progress::spinner(what), bodies.count);
    let (rows_before, _) = sandbox.count_rows().await?;
    let mut process = Running::start(sandbox.banklink(role.arguments()))?;
    process.ready().await?;
    if matches!(role, Role::Ingress | Role::All) {
        load::send_all(&process.ingress().await?, load::posts(count, bodies.body)?, CONNECTIONS).await?;
    }
    let (rows, outbox_empty) = match role {
        Role::Ingress => (rows_before, false),
        Role::Worker => (rows_before + count, false),
        Role::Relay => (rows_before, true),
        Role::All => (rows_before + count, true),
    };
    until(sandbox, rows, outbox_empty).await.with_context(|| process.log())?;
    let peak = process.peak_megabytes()?;
    process.stop().await?;
    drop(spinner);
    Ok(peak)
}

/// Waits until there are `count` bank links and, if `outbox_empty`, every event is published.
async fn until(sandbox: &Sandbox, count: usize, outbox_empty: bool) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (rows, events) = sandbox.count_rows().await?;
        if rows >= count && (events == 0 || !outbox_empty) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{rows} rows of {count}, {events} unpublished events after {DEADLINE:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
