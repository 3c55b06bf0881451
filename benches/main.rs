//! `make bench`: what banklink does in a second, beside what a program without features does on the same machine at the same time.
//!
//! The product is measured from outside: the release binary, as processes, through its settings and its metrics. Each run has
//! a namespace and a database of its own, which are gone afterwards, also after Ctrl-C. Nothing here is ever asserted.

mod args;
mod broker;
mod ceiling;
mod dead_letters;
mod drain;
mod end_to_end;
mod fill;
mod growth;
mod http;
mod ingress;
mod load;
mod memory;
mod place;
mod process;
mod progress;
mod report;
mod settings;
mod startup;
mod stats;
mod steady;
mod webhook;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use args::{Args, Command, Section};
use place::Places;
use report::Figure;
use settings::Settings;

/// What every section works with.
struct Bench {
    settings: Settings,
    places: Places,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(execute(args)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(&format!("banklink-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn execute(args: Args) -> Result<()> {
    match args.command {
        Some(Command::CeilingDrain(drain)) => ceiling::drain::run(&drain).await,
        Some(Command::CeilingIngress(ingress)) => ceiling::ingress::run(&ingress).await,
        None => bench(args).await,
    }
}

async fn bench(args: Args) -> Result<()> {
    let settings = Settings::resolve(args)?;
    let bench = Bench { places: Places::new(&settings), settings };
    let mut figures = Vec::new();
    let ended = tokio::select! {
        ended = measure_all(&bench, &mut figures) => ended,
        name = interrupted() => Err(anyhow::anyhow!("stopped by {}", name?)),
    };
    // Whatever a section left because it failed or was interrupted. What others measured is good all the same.
    bench.places.remove_all(&bench).await;
    report::write_json(&bench.settings, &figures)?;
    report::print(&figures)?;
    ended
}

/// Measures one section after the other. One that fails keeps none of the others from being measured; why it failed is said
/// below the figures, where somebody who has only the end of a log sees it.
async fn measure_all(bench: &Bench, figures: &mut Vec<Figure>) -> Result<()> {
    let mut failures = Vec::new();
    for section in &bench.settings.sections {
        match measure(bench, *section).await {
            Ok(measured) => figures.extend(measured),
            Err(error) => failures.push(format!("{section:?}: {error:#}")),
        }
    }
    ensure!(failures.is_empty(), "not every section could be measured:\n{}", failures.join("\n"));
    Ok(())
}

async fn measure(bench: &Bench, section: Section) -> Result<Vec<Figure>> {
    match section {
        Section::Drain => drain::measure(bench).await,
        Section::Ingress => ingress::measure(bench).await,
        Section::EndToEnd => end_to_end::measure(bench).await,
        Section::DeadLetters => dead_letters::measure(bench).await,
        Section::Growth => growth::measure(bench).await,
        Section::Memory => memory::measure(bench).await,
        Section::Startup => startup::measure(bench).await,
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> Result<&'static str> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}
