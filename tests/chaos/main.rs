//! The chaos suite shows that nothing is lost and nothing is doubled: it sends signed load through real processes, injects faults, and
//! judges the result. `make chaos`, or `cargo test --test chaos -- --help`. README.md describes the suite and reports its runs.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program, which prints its report and panics when its own set-up fails"
)]

mod bodies;
mod case;
mod cluster;
mod collect;
mod events;
mod evidence;
mod explain;
mod faults;
mod fleet;
mod instance;
mod judge;
mod judge_queues;
mod ledger;
mod load;
mod plan;
mod report;
mod rng;
mod row_images;
mod run;
mod scenario;
mod sender;
mod settings;
mod testbed;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use uuid::Uuid;

use run::{Options, run};
use scenario::{Length, Scenario};

/// Sends load through banklink while everything around it fails, and judges the result.
#[derive(Parser)]
#[command(name = "chaos")]
struct Args {
    /// Determines load and faults; drawn at random if it is missing, and printed
    #[arg(long)]
    seed: Option<u64>,
    /// Run only this scenario (may be repeated)
    #[arg(long)]
    scenario: Vec<Scenario>,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let Args { seed, mut scenario, options } = Args::parse();
    let seed = seed.unwrap_or_else(|| Uuid::new_v4().as_fields().0.into());
    if scenario.is_empty() {
        scenario = match options.length() {
            Length::Quick => vec![Scenario::Postgres],
            Length::Full => vec![Scenario::Postgres, Scenario::Cluster, Scenario::Sqlite],
        };
    }
    println!("seed {seed}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let all = async {
        let mut good = true;
        for scenario in scenario {
            good &= run(scenario, seed, &options).await?;
        }
        Ok(good)
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = all => result,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        }
    });
    // Drops all tasks, and with them every process and server.
    runtime.shutdown_timeout(Duration::from_secs(60));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: the suite itself failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
