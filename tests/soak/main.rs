//! What only time brings to light. Not part of `make test`; each scenario runs by itself, on services of its own:
//!
//! ```text
//! cargo test --test soak -- long-outage [--minutes 25]
//! cargo test --release --test soak -- steady [--minutes 15] [--rate 500]
//! ```
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a scenario speaks by failing, and prints what it measures"
)]

#[path = "../it/fixtures.rs"]
#[expect(dead_code, reason = "made for the tests, which use more of it")]
mod fixtures;
mod long_outage;
#[path = "../it/process.rs"]
#[expect(dead_code, reason = "made for the tests, which use more of it")]
mod process;
#[path = "../it/services.rs"]
#[expect(dead_code, reason = "made for the tests, which use more of it")]
mod services;
mod steady;
#[path = "../it/waiting.rs"]
mod waiting;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

/// The secret that everything is signed with.
const SECRET: &str = "a-secret-of-the-soak";
const USAGE: &str = "soak long-outage [--minutes N] | soak steady [--minutes N] [--rate POSTS_A_SECOND]";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: u64| {
        let given = arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
        given.map_or(Some(default), |number| number.parse().ok())
    };
    let minutes = |default| option("--minutes", default).map(|minutes| Duration::from_secs(60 * minutes));
    let passed = match (arguments.first().map(String::as_str), minutes(25), minutes(15), option("--rate", 500)) {
        (Some("long-outage"), Some(length), _, _) => long_outage::run(length).await,
        (Some("steady"), _, Some(length), Some(rate)) => steady::run(length, rate).await,
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("{}", if passed { "PASSED" } else { "FAILED" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
