//! `make bench`: measures banklink, and compares it with minimal programs (ceilings) on the same machine in the same
//! run.
//!
//! banklink is measured from outside: the release binary runs as processes and is observed through its metrics. Each
//! run has its own namespace and database, which are deleted afterwards, even after Ctrl-C. No figure is ever asserted.

mod api;
mod args;
mod bench;
mod broker;
mod ceiling;
mod conditions;
mod console;
mod dead_letters;
mod drain;
mod end_to_end;
mod endpoints;
mod fill;
mod growth;
mod http;
mod ingress;
mod load;
mod memory;
mod proc;
mod process;
mod progress;
mod report;
mod sandbox;
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
use bench::Bench;
use report::Figure;
use settings::Settings;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(execute(args)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::print(&format!("banklink-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn execute(args: Args) -> Result<()> {
    match args.command {
        Some(Command::CeilingDrain(drain)) => ceiling::drain::run(&drain).await,
        Some(Command::CeilingIngress(ingress)) => ceiling::ingress::run(&ingress).await,
        None => run(args).await,
    }
}

async fn run(args: Args) -> Result<()> {
    let bench = Bench::new(Settings::resolve(args)?);
    let mut figures = Vec::new();
    let result = tokio::select! {
        result = measure_all(&bench, &mut figures) => result,
        name = interrupted() => Err(anyhow::anyhow!("stopped by {}", name?)),
    };
    // Sections that failed or were interrupted leave their sandboxes. The figures of the others are valid.
    bench.remove_all().await;
    report::write_json(&bench.settings, &figures)?;
    report::print(&figures)?;
    result
}

/// Measures one section after the other. If one fails, the others are still measured, and its error is printed after
/// the figures, at the end of the log.
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
        Section::Conditions => conditions::measure(bench).await,
        Section::Api => api::measure(bench).await,
        Section::Console => console::measure(bench).await,
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
