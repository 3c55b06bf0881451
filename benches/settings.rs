//! What the arguments and the environment come to: sizes, sections, servers.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use url::Url;

use crate::args::{Args, Database, Section};

const UNREACHABLE: &str = "run `make bench`, or `deploy/services up` and export what it prints";
/// The batch sizes that are measured.
const BATCHES: [u32; 5] = [1, 16, 64, 256, 1000];
/// banklink's own default batch size, which its ceiling uses as well.
pub(crate) const DEFAULT_BATCH: u32 = 256;

pub(crate) struct Settings {
    pub(crate) sections: Vec<Section>,
    pub(crate) databases: Vec<Database>,
    pub(crate) batches: Vec<u32>,
    pub(crate) repeat: u32,
    /// Webhooks in one run at the default batch size.
    pub(crate) count: u32,
    /// Seconds at each steady rate.
    pub(crate) seconds: u32,
    /// Rows that are there before the drain, in rising order.
    pub(crate) rows: [u32; 2],
    /// Messages on the queue before the drain.
    pub(crate) backlog: u32,
    /// Dead letters.
    pub(crate) letters: u32,
    pub(crate) json: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) amqp_url: String,
    pub(crate) postgres_url: Url,
}

impl Settings {
    pub(crate) fn resolve(args: Args) -> Result<Self> {
        let beside = std::env::current_exe()?.with_file_name("banklink");
        let program = args.program.unwrap_or(beside);
        ensure!(program.is_file(), "there is no {}: cargo build --release --features bench", program.display());
        let amqp_url = std::env::var("AMQP_URL").with_context(|| format!("AMQP_URL is not set: {UNREACHABLE}"))?;
        let postgres_url =
            std::env::var("DATABASE_URL").ok().and_then(|url| Url::parse(&url).ok()).filter(Url::has_host);
        Ok(Self {
            sections: all_unless(args.only, &Section::ALL),
            databases: all_unless(args.database, &Database::ALL),
            batches: all_unless(args.batch, &BATCHES),
            repeat: args.repeat.unwrap_or(if args.quick { 1 } else { 3 }),
            count: args.count.unwrap_or(if args.quick { 4_000 } else { 40_000 }),
            seconds: if args.quick { 2 } else { 15 },
            rows: if args.quick { [20_000, 100_000] } else { [1_000_000, 5_000_000] },
            backlog: if args.quick { 20_000 } else { 1_000_000 },
            letters: if args.quick { 2_000 } else { 100_000 },
            json: args.json,
            program,
            amqp_url,
            postgres_url: postgres_url
                .with_context(|| format!("DATABASE_URL does not name a PostgreSQL server: {UNREACHABLE}"))?,
        })
    }
}

fn all_unless<T: Copy>(chosen: Vec<T>, all: &[T]) -> Vec<T> {
    if chosen.is_empty() { all.to_vec() } else { chosen }
}
