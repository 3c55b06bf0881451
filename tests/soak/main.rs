//! What only time brings to light. Not part of `make test`; each scenario runs by itself, on services of its own:
//!
//! ```text
//! cargo test --test soak -- long-outage [--outage away|missing-table|only-reads] [--minutes 25]
//! cargo test --release --test soak -- steady [--minutes 15] [--rate 500]
//! ```
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a scenario speaks by failing, and prints what it measures"
)]

mod long_outage;
mod outage;
mod steady;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use testkit::{fixtures, process, services, waiting};

use outage::Outage;

/// The secret that everything is signed with.
const SECRET: &str = "a-secret-of-the-soak";

/// What only time brings to light.
#[derive(Parser)]
#[command(name = "soak")]
enum Scenario {
    /// The database fails everybody for longer than the retry schedule and RabbitMQ's consumer timeout together
    LongOutage {
        #[arg(long, value_enum, default_value_t = Outage::Away)]
        outage: Outage,
        #[arg(long, default_value_t = 25)]
        minutes: u64,
    },
    /// A load held for a while: memory stays flat, and no queue grows
    Steady {
        #[arg(long, default_value_t = 15)]
        minutes: u64,
        /// Posts a second
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
