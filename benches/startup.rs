//! The time from the start of a process until it is ready, with all services, the schema and the topology available.

use anyhow::{Context, Result};

use crate::args::Database;
use crate::bench::Bench;
use crate::memory::Role;
use crate::process::Running;
use crate::progress;
use crate::report::{Figure, format_value};

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let sandbox = bench.sandbox(Database::Postgres).await?;
    let mut figures = Vec::new();
    for role in Role::EACH {
        let what = format!("start to ready, {}", role.name());
        let mut durations = Vec::new();
        for _ in 0..bench.settings.repeat {
            let mut process = Running::start(sandbox.banklink(role.arguments()))?;
            process.ready().await.with_context(|| what.clone())?;
            durations.push(process.started.elapsed().as_secs_f64() * 1e3);
            process.stop().await?;
        }
        progress::print(&format!("{what}: {} ms", format_value(durations[0])));
        figures.push(Figure::new(what, "ms", durations));
    }
    bench.remove(&sandbox).await;
    Ok(figures)
}
