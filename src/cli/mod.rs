//! The command line: parses arguments, resolves settings and runs one command.
//!
//! Results go to stdout, everything else to stderr. Exit status: 0 success, 1 failure, 2 wrong usage or a wrong setting.

mod check;
mod check_line;
mod command_error;
mod connections;
mod console_settings;
mod database_diagnosis;
mod diagnosis;
mod events;
mod example_table;
mod examples;
mod flags;
mod letter_commands;
mod link_commands;
mod man;
mod management;
mod migrate;
mod openapi;
mod output;
mod probe;
mod queue_diagnosis;
mod queue_effects;
mod reconcile_command;
mod reconcile_output;
mod rehearse;
mod run;
mod run_settings;
mod running_roles;
mod schema;
mod send;
mod setting_values;
mod settings;
mod simulate;
mod switches;
mod topology_command;
mod webhook_formats;
mod webhook_source;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use flags::SettingInfo;
pub use settings::ALL as SETTINGS;

use command_error::CommandError;
use flags::Flags;

use crate::panics;
use crate::telemetry::{self, LevelFilter, LogFormat, Traces};

/// Receives Lean's webhooks, stores bank links and publishes events, and loses none of them
#[derive(Parser)]
#[command(name = "banklink", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run roles in one process; by default ingress, worker and relay
    Run(run::Args),
    /// Apply, revert or list the steps of the database schema
    Migrate(migrate::Args),
    /// Declare exchanges, queues and bindings on RabbitMQ, or list them
    Topology(topology_command::Args),
    /// Check that RabbitMQ and the database are reachable, declared and migrated
    Check(check::Args),
    /// Sign webhooks and post them to an ingress
    Send(send::Args),
    /// Run a stand-in for Lean: a shop's page, the SDK, webhooks, and Lean's API, without an account
    #[command(long_about = simulate::ABOUT)]
    Simulate(simulate::Args),
    /// Follow downstream events, or rehearse them with a subscriber
    #[command(subcommand)]
    Events(events::Command),
    /// Inspect, replay and discard dead letters
    #[command(subcommand)]
    DeadLetters(letter_commands::Command),
    /// Show bank links
    #[command(subcommand)]
    Links(link_commands::Command),
    /// Compare what Lean lists with what is here, and send what is missing
    Reconcile(reconcile_command::Args),
    /// Print the published documents: JSON Schemas of the events, AsyncAPI, OpenAPI
    Schema(schema::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a man page for each command
    #[command(hide = true)]
    Man {
        /// An existing directory
        directory: PathBuf,
    },
}

/// The command line, with the examples of each command.
fn command_line() -> clap::Command {
    examples::add_to(Cli::command())
}

/// Runs the command that the process was called with, and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    // clap prints help, version and usage errors, and exits with the right status.
    let matches = command_line().get_matches_from(switches::with_joined_values(std::env::args_os()));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let flags = Flags::of_subcommand(matches);
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(execute(cli.command, &flags)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) | Err(CommandError::BrokenPipe) => ExitCode::SUCCESS,
        Err(CommandError::AlreadyReported) => ExitCode::FAILURE,
        Err(CommandError::Failed(error)) => {
            output::print_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
        Err(CommandError::Usage(problem)) => {
            output::print_error(&problem);
            ExitCode::from(2)
        }
    }
}

async fn execute(command: Command, flags: &Flags) -> Result<(), CommandError> {
    if !matches!(command, Command::Run(_) | Command::Completions { .. } | Command::Man { .. }) {
        // A person reads these logs, so only warnings are shown.
        telemetry::start(LogFormat::Text, LevelFilter::WARN, Traces::Off).map_err(CommandError::Usage)?;
        panics::log_locations();
    }
    match command {
        Command::Run(args) => run::run(args, flags).await,
        Command::Migrate(args) => migrate::run(args, flags).await,
        Command::Topology(args) => topology_command::run(args, flags).await,
        Command::Check(args) => check::run(args, flags).await,
        Command::Send(args) => send::run(args, flags).await,
        Command::Simulate(args) => simulate::run(args, flags).await,
        Command::Events(command) => events::run(command, flags).await,
        Command::DeadLetters(command) => letter_commands::run(command, flags).await,
        Command::Links(command) => link_commands::run(command, flags).await,
        Command::Reconcile(args) => reconcile_command::run(args, flags).await,
        Command::Man { directory } => Ok(man::write(command_line(), &directory)?),
        Command::Schema(args) => schema::run(&args, flags),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "banklink", &mut script);
            output::unescaped(String::from_utf8(script)?.trim_end())
        }
    }
}
