//! Soak tests: failures that only appear after minutes of outage or load. They are not part of `make test`; each scenario starts private
//! servers:
//!
//! ```text
//! cargo test --test soak -- long-outage [--outage away|missing-table|only-reads] [--minutes 25]
//! cargo test --release --test soak -- steady [--minutes 15] [--rate 500]
//! ```
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a scenario prints what it measures, and panics when its set-up fails"
)]

mod long_outage;
mod outage;
mod steady;
mod system;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use outage::Outage;

/// Runs one soak test.
#[derive(Parser)]
#[command(name = "soak")]
enum Scenario {
    /// The database fails for longer than the retry schedule and RabbitMQ's consumer timeout together
    LongOutage {
        #[arg(long, value_enum, default_value_t = Outage::Stopped)]
        outage: Outage,
        #[arg(long, default_value_t = 25)]
        minutes: u64,
    },
    /// A steady load: memory stays constant, and no queue grows
    Steady {
        #[arg(long, default_value_t = 15)]
        minutes: u64,
        /// Posts per second
        #[arg(long, default_value_t = 500)]
        rate: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let length = |minutes| Duration::from_secs(60 * minutes);
    let passed = match Scenario::parse() {
        Scenario::LongOutage { outage, minutes } => long_outage::run(outage, length(minutes)).await,
        Scenario::Steady { minutes, rate } => steady::run(length(minutes), rate).await,
    };
    println!("{}", if passed { "PASSED" } else { "FAILED" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
