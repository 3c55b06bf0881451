//! The largest resident size of each role at full load: each by itself, and all in one process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::args::Database;
use crate::place::Place;
use crate::process::{self, Running};
use crate::report::{Figure, shown};
use crate::{Bench, load, progress};

const CONNECTIONS: usize = 256;
const LOOK: Duration = Duration::from_millis(200);
/// A load that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// What runs in the process. In this order each takes in what the one before it put out.
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

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut peaks: [Vec<f64>; 4] = Default::default();
    for _ in 0..bench.settings.repeat {
        let place = bench.places.make(bench, Database::Postgres).await?;
        for (role, peaks) in Role::EACH.into_iter().zip(&mut peaks) {
            let what = format!("memory, {}", role.name());
            let peak = peak(bench, &place, role, &what).await.context(what.clone())?;
            progress::say(&format!("{what}: {} MB", shown(peak)));
            peaks.push(peak);
        }
        bench.places.remove(bench, &place).await;
    }
    let figures = peaks.into_iter().zip(Role::EACH);
    Ok(figures.map(|(peaks, role)| Figure::new(format!("memory, {}, peak", role.name()), "MB", peaks)).collect())
}

async fn peak(bench: &Bench, place: &Place, role: Role, what: &str) -> Result<f64> {
    let spinner = progress::spinner(what);
    let count = bench.settings.count as usize;
    let (rows_before, _) = place.rows().await?;
    let mut process = Running::start(process::banklink(bench, place, role.arguments()))?;
    process.ready().await?;
    if matches!(role, Role::Ingress | Role::All) {
        load::send_all(&process.ingress().await?, load::posts(count)?, CONNECTIONS).await?;
    }
    let (rows, no_event_left) = match role {
        Role::Ingress => (rows_before, false),
        Role::Worker => (rows_before + count, false),
        Role::Relay => (rows_before, true),
        Role::All => (rows_before + count, true),
    };
    until(place, rows, no_event_left).await.with_context(|| process.log())?;
    let peak = process.peak_megabytes()?;
    process.stop().await?;
    drop(spinner);
    Ok(peak)
}

/// Waits until there are so many bank links, and, if that is asked, no event is left to publish.
async fn until(place: &Place, count: usize, no_event_left: bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (rows, events) = place.rows().await?;
        if rows >= count && (events == 0 || !no_event_left) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{rows} rows of {count}, {events} events left after {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}
