//! Nothing lost, nothing doubled: signed load through real processes while faults are injected, then a judge. `make chaos`, or
//! `cargo test --test chaos -- --help`. What it does, and what it found: README.md beside it.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program that speaks to people"
)]

mod audit;
mod bodies;
mod chance;
mod cluster;
mod events;
mod evidence;
mod explain;
mod faults;
mod fleet;
mod judge;
mod ledger;
mod load;
mod plan;
mod run;
mod sender;
mod world;

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use testkit::{fixtures, model, proxy, services, waiting};

use plan::{Fault, Length, Scenario};

/// The secret that webhooks are signed with.
const SECRET: &str = "a-secret-of-the-chaos-suite";
/// Webhooks in a second, at most.
const RATE: u32 = 80;

/// Drives load through banklink while everything around it fails, and judges what is left.
#[derive(Parser)]
#[command(name = "chaos")]
struct Args {
    /// Draws load and faults; a run prints its own
    #[arg(long)]
    seed: Option<u64>,
    /// A few faults on one RabbitMQ and PostgreSQL, in two minutes
    #[arg(long)]
    quick: bool,
    /// Only these, one after the other
    #[arg(long)]
    scenario: Vec<Scenario>,
    /// Only these faults, in this order
    #[arg(long, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Seconds after the last fault: a full run is judged then, and no verdict turns good later. RabbitMQ's own at-least-once
    /// dead-lettering may hold a message for 180
    #[arg(long, default_value_t = 200)]
    patience: u64,
    /// Keeps the logs of a good run, too
    #[arg(long)]
    keep_logs: bool,
    /// Webhooks in a second, at most
    #[arg(long, default_value_t = RATE)]
    rate: u32,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    });
    let length = if args.quick { Length::Quick } else { Length::Full };
    let scenarios = match (args.scenario.is_empty(), length) {
        (false, _) => args.scenario,
        (true, Length::Quick) => vec![Scenario::Postgres],
        (true, Length::Full) => vec![Scenario::Postgres, Scenario::Cluster, Scenario::Sqlite],
    };
    println!("seed {seed}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let all = async {
        let mut good = true;
        for scenario in scenarios {
            let (only, rate, keep_logs) = (args.only.clone(), args.rate, args.keep_logs);
            let patience = Duration::from_secs(args.patience);
            let order = run::Order { scenario, seed, length, only, rate, patience, keep_logs };
            good &= run::run(&order).await?;
        }
        Ok(good)
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = all => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped")),
        }
    });
    // Takes every process and server down.
    runtime.shutdown_timeout(Duration::from_secs(60));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(cause) => {
            eprintln!("chaos: the suite itself failed: {cause:#}");
            ExitCode::FAILURE
        }
    }
}
