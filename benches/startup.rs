//! From the start of a process until it says that it is ready, with services up and the schema and the topology there.

use anyhow::{Context, Result};

use crate::args::Database;
use crate::memory::Role;
use crate::process::{self, Running};
use crate::report::{Figure, shown};
use crate::{Bench, progress};

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let place = bench.places.make(bench, Database::Postgres).await?;
    let mut figures = Vec::new();
    for role in Role::EACH {
        let what = format!("start to ready, {}", role.name());
        let mut took = Vec::new();
        for _ in 0..bench.settings.repeat {
            let mut process = Running::start(process::banklink(bench, &place, role.arguments()))?;
            process.ready().await.with_context(|| what.clone())?;
            took.push(process.started.elapsed().as_secs_f64() * 1e3);
            process.stop().await?;
        }
        progress::say(&format!("{what}: {} ms", shown(took[0])));
        figures.push(Figure::new(what, "ms", took));
    }
    bench.places.remove(bench, &place).await;
    Ok(figures)
}
