//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures banklink and compares it with minimal programs on the same machine. Needs RabbitMQ and PostgreSQL, which
/// `make bench` starts
#[derive(Debug, Parser)]
#[command(name = "banklink-bench", version, max_term_width = 120)]
pub(crate) struct Args {
    /// Only these sections
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Section>,
    /// Only on these databases, in sections that measure both
    #[arg(long, value_delimiter = ',')]
    pub(crate) database: Vec<Database>,
    /// Only with these batch sizes
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: Vec<u32>,
    /// Webhooks in one run at the default batch size; runs with smaller batches use fewer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub(crate) count: Option<u32>,
    /// Runs of each measurement; the table shows their median
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeat: Option<u32>,
    /// One small run of each measurement, within four minutes; the figures mean little
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where to write every value
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    pub(crate) json: PathBuf,
    /// The banklink to measure; by default the one in the directory of this program
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The sections, in the order of their measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Worker and relay: a full queue drained into rows and confirmed events
    Drain,
    /// Ingress: throughput and latency of signed posts
    Ingress,
    /// From the post to the event in a subscriber's queue, at a steady rate
    EndToEnd,
    /// Many dead letters: recorded, counted, listed and replayed
    DeadLetters,
    /// The drain with millions of rows in the table, and with a backlog of a million messages
    Growth,
    /// The maximum resident size of each role at full load
    Memory,
    /// The time from the start of a process until it is ready
    Startup,
    /// Drain, replay, ingress and post to event over TLS, over a distance, with a slow disk, beside a foreign transaction
    Conditions,
    /// The read API: from the post to the answer of a waiting request, and the memory of many that wait
    Api,
    /// The console: each of its pages with many dead letters, and while they are replayed
    Console,
}

impl Section {
    pub(crate) const ALL: [Self; 10] = [
        Self::Drain,
        Self::Ingress,
        Self::EndToEnd,
        Self::DeadLetters,
        Self::Growth,
        Self::Memory,
        Self::Startup,
        Self::Conditions,
        Self::Api,
        Self::Console,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Database {
    Postgres,
    Sqlite,
}

impl Database {
    pub(crate) const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        }
    }
}

/// The ceilings run as separate processes, like banklink.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(hide = true)]
    CeilingDrain(CeilingDrain),
    #[command(hide = true)]
    CeilingIngress(CeilingIngress),
}

/// The rest is in AMQP_URL and DATABASE_URL.
#[derive(Debug, clap::Args)]
pub(crate) struct CeilingDrain {
    #[arg(long)]
    pub(crate) namespace: String,
    #[arg(long)]
    pub(crate) count: usize,
}

/// The rest is in AMQP_URL and LEAN_WEBHOOK_SECRETS.
#[derive(Debug, clap::Args)]
pub(crate) struct CeilingIngress {
    #[arg(long)]
    pub(crate) namespace: String,
}
