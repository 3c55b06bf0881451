//! The command line: reads the arguments, opens what a command needs, and passes it down.
//!
//! Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 wrong usage or a wrong setting.

mod check;
mod dead_letters;
mod events;
mod flags;
mod migrate;
mod output;
mod process;
mod publisher_session;
mod roles;
mod run;
mod send;
mod settings;
mod topology;
mod webhooks;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Problems;
use crate::panics;
use crate::telemetry::{self, LevelFilter, LogFormat};

/// Consumes Lean's webhooks so that no bank link is ever lost.
#[derive(Parser)]
#[command(name = "banklink", version, about, long_about = None, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run roles; none named: all three in one process
    Run(run::Args),
    /// Bring the database's schema up, down, or show where it stands
    Migrate(migrate::Args),
    /// Declare exchanges and queues, or show what is declared
    Topology(topology::Args),
    /// Is everything reachable, declared and migrated as it should be?
    Check(check::Args),
    /// Sign webhooks and post them to an ingress
    Send(send::Args),
    /// Downstream events
    #[command(subcommand)]
    Events(events::Command),
    /// What died, why, and how to send it in again
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Why a command did not succeed.
enum Failure {
    /// Wrong usage, or a wrong setting.
    Usage(String),
    /// Anything else.
    Failed(anyhow::Error),
    /// It has said itself what failed.
    AlreadyReported,
    /// Whoever read the result has gone away, which is their right.
    BrokenPipe,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.downcast::<Problems>() {
            Ok(problems) => Self::Usage(problems.to_string()),
            Err(error) => Self::Failed(error),
        }
    }
}

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    // clap prints help, version and wrong usage itself, with the right status.
    let cli = Cli::parse();
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(execute(cli.command)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::AlreadyReported) => ExitCode::FAILURE,
        Err(Failure::Failed(error)) => {
            output::print_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
        Err(Failure::Usage(problem)) => {
            output::print_error(&problem);
            ExitCode::from(2)
        }
    }
}

async fn execute(command: Command) -> Result<(), Failure> {
    if !matches!(command, Command::Run(_) | Command::Completions { .. }) {
        // Only what a person should know, such as a queue that exists with another number.
        telemetry::start(LogFormat::Text, LevelFilter::WARN, None).map_err(Failure::Usage)?;
        panics::log_locations();
    }
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Topology(args) => topology::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Send(args) => send::run(args).await,
        Command::Events(command) => events::run(command).await,
        Command::DeadLetters(command) => dead_letters::run(command).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "banklink", &mut script);
            output::line(String::from_utf8(script)?.trim_end())
        }
    }
}
