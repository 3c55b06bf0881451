//! The command line: what to measure, and how long to take over it.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures banklink beside what the machine allows. Needs RabbitMQ and PostgreSQL: `make bench` brings them up.
#[derive(Debug, Parser)]
#[command(name = "banklink-bench", version, max_term_width = 120)]
pub(crate) struct Args {
    /// Only these sections
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Section>,
    /// Only on these databases, where a section has both
    #[arg(long, value_delimiter = ',')]
    pub(crate) database: Vec<Database>,
    /// Only with these batch sizes
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: Vec<u32>,
    /// Webhooks in one run at the default batch size; smaller batches get fewer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub(crate) count: Option<u32>,
    /// Runs of everything; the table shows their median
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeat: Option<u32>,
    /// Everything once and small, within two minutes: shows that it works, and little else
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where every single value goes
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    pub(crate) json: PathBuf,
    /// The banklink to measure; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Worker and relay: a full queue drained to rows and confirmed events
    Drain,
    /// Ingress: signed posts accepted, and how long they take
    Ingress,
    /// From the post to the event in a subscriber's queue, at a steady rate
    EndToEnd,
    /// Many dead letters: recorded, counted, listed, replayed
    DeadLetters,
    /// The drain again, with millions of rows and with a million messages
    Growth,
    /// The largest resident size of each role at full load
    Memory,
    /// From the start of a process until it is ready
    Startup,
}

impl Section {
    pub(crate) const ALL: [Self; 7] =
        [Self::Drain, Self::Ingress, Self::EndToEnd, Self::DeadLetters, Self::Growth, Self::Memory, Self::Startup];
}

/// Where rows go.
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

/// The ceilings are processes of their own, as banklink is.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(hide = true)]
    CeilingDrain(CeilingDrain),
    #[command(hide = true)]
    CeilingIngress(CeilingIngress),
}

/// AMQP_URL and DATABASE_URL say where.
#[derive(Debug, clap::Args)]
pub(crate) struct CeilingDrain {
    #[arg(long)]
    pub(crate) namespace: String,
    #[arg(long)]
    pub(crate) count: usize,
}

/// AMQP_URL and LEAN_WEBHOOK_SECRETS say the rest.
#[derive(Debug, clap::Args)]
pub(crate) struct CeilingIngress {
    #[arg(long)]
    pub(crate) namespace: String,
}
