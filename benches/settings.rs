//! The settings, from arguments and environment.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use url::Url;

use crate::args::{Args, Database, Section};

const UNREACHABLE: &str = "run `make bench`, or `deploy/services up` and export what it prints";
/// The measured batch sizes.
const BATCHES: [u32; 5] = [1, 16, 64, 256, 1000];
/// The default batch size of banklink, which its ceiling uses too.
pub(crate) const DEFAULT_BATCH: u32 = 256;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) sections: Vec<Section>,
    pub(crate) databases: Vec<Database>,
    pub(crate) batches: Vec<u32>,
    pub(crate) repeat: u32,
    /// Webhooks in one run at the default batch size.
    pub(crate) count: u32,
    /// How long each steady rate is kept up, in seconds.
    pub(crate) seconds: u32,
    /// Rows in the table before the drain, in ascending order.
    pub(crate) rows: [u32; 2],
    /// Messages on the queue before the drain.
    pub(crate) backlog: u32,
    /// Dead letters.
    pub(crate) letters: u32,
    /// Webhooks with large bodies in one run.
    pub(crate) large: u32,
    /// Webhooks in one run beside a foreign transaction, in ascending order.
    pub(crate) foreign: [u32; 3],
    /// Requests to the read API that wait, one after the other.
    pub(crate) waits: u32,
    /// Requests to the read API that wait at the same time.
    pub(crate) waiting: u32,
    /// Requests for each page of the console, one after the other.
    pub(crate) visits: u32,
    pub(crate) json: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) amqp_url: String,
    pub(crate) postgres_url: Url,
}

impl Settings {
    pub(crate) fn resolve(args: Args) -> Result<Self> {
        let default_program = std::env::current_exe()?.with_file_name("banklink");
        let program = args.program.unwrap_or(default_program);
        ensure!(
            program.is_file(),
            "{} does not exist: run `cargo build --release --features bench`",
            program.display()
        );
        let amqp_url = std::env::var("AMQP_URL").with_context(|| format!("AMQP_URL is not set: {UNREACHABLE}"))?;
        let postgres_url =
            std::env::var("DATABASE_URL").ok().and_then(|url| Url::parse(&url).ok()).filter(Url::has_host);
        Ok(Self {
            sections: chosen_or_all(args.only, &Section::ALL),
            databases: chosen_or_all(args.database, &Database::ALL),
            batches: chosen_or_all(args.batch, &BATCHES),
            repeat: args.repeat.unwrap_or(if args.quick { 1 } else { 3 }),
            count: args.count.unwrap_or(if args.quick { 4_000 } else { 40_000 }),
            seconds: if args.quick { 2 } else { 15 },
            rows: if args.quick { [20_000, 100_000] } else { [1_000_000, 5_000_000] },
            backlog: if args.quick { 20_000 } else { 1_000_000 },
            letters: if args.quick { 2_000 } else { 100_000 },
            large: if args.quick { 300 } else { 2_000 },
            foreign: if args.quick { [2_000, 4_000, 8_000] } else { [50_000, 200_000, 400_000] },
            waits: if args.quick { 50 } else { 500 },
            waiting: if args.quick { 1_000 } else { 10_000 },
            visits: 20,
            json: args.json,
            program,
            amqp_url,
            postgres_url: postgres_url
                .with_context(|| format!("DATABASE_URL does not name a PostgreSQL server: {UNREACHABLE}"))?,
        })
    }
}

fn chosen_or_all<T: Copy>(chosen: Vec<T>, all: &[T]) -> Vec<T> {
    if chosen.is_empty() { all.to_vec() } else { chosen }
}
