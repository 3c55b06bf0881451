//! What production is like: TLS, distance, a slow disk, and a transaction that another session leaves open. Each is compared with plain
//! connections to idle servers on the same machine, in the same run.
//!
//! Both servers are the bench's own, because TLS has to be set up. The disk is slow for PostgreSQL only: RabbitMQ has no setting for it.

mod delay;
mod servers;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sea_orm::sqlx::{Connection, PgConnection, raw_sql};
use url::Url;

use crate::args::Database;
use crate::bench::Bench;
use crate::dead_letters;
use crate::drain::{self, Drainer};
use crate::end_to_end::{self, Processes};
use crate::endpoints::{Endpoints, Urls};
use crate::ingress::{self, Ingress};
use crate::report::Figure;
use crate::sandbox::with_deadline;
use crate::settings::DEFAULT_BATCH;
use crate::stats::{median, quantile};
use servers::Servers;

/// Posts a second, for the time from post to event.
const RATE: u32 = 200;
/// Concurrent connections to the ingress.
const CONNECTIONS: usize = 256;
/// What a commit takes in addition on a slow disk.
const COMMIT_DELAY: Duration = Duration::from_millis(5);
/// How many queries the round trip is measured with.
const ROUND_TRIPS: usize = 200;

/// One way in which production differs from a laboratory, or several.
#[derive(Clone, Copy, Debug, Default)]
struct Condition {
    name: &'static str,
    tls: bool,
    round_trip: Duration,
    commit_delay: Duration,
    /// Whether a transaction in another database of the server stays open.
    foreign_transaction: bool,
}

const PLAIN: Condition = Condition {
    name: "plain",
    tls: false,
    round_trip: Duration::ZERO,
    commit_delay: Duration::ZERO,
    foreign_transaction: false,
};
const FOREIGN_TRANSACTION: Condition = Condition { name: "foreign transaction", foreign_transaction: true, ..PLAIN };
const CONDITIONS: [Condition; 6] = [
    Condition { name: "TLS", tls: true, ..PLAIN },
    Condition { name: "0.5 ms", round_trip: Duration::from_micros(500), ..PLAIN },
    Condition { name: "2 ms", round_trip: Duration::from_millis(2), ..PLAIN },
    Condition { name: "slow disk", commit_delay: COMMIT_DELAY, ..PLAIN },
    Condition { name: "TLS, 0.5 ms", tls: true, round_trip: Duration::from_micros(500), ..PLAIN },
    Condition {
        name: "TLS, 2 ms, slow disk, foreign transaction",
        tls: true,
        round_trip: Duration::from_millis(2),
        commit_delay: COMMIT_DELAY,
        foreign_transaction: true,
    },
];

/// One value of each figure for each run.
#[derive(Default)]
struct Values {
    round_trip: Vec<f64>,
    drained: Vec<f64>,
    replayed: Vec<f64>,
    ingress: Vec<f64>,
    post_to_event: Vec<f64>,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let servers = Servers::start().await.context("servers with TLS")?;
    let mut figures = beside_a_foreign_transaction(bench, &servers).await?;
    let mut plain = Values::default();
    let mut measured: Vec<Values> = CONDITIONS.iter().map(|_| Values::default()).collect();
    for _ in 0..bench.settings.repeat {
        plain.measure(bench, &servers, PLAIN).await?;
        for (values, condition) in measured.iter_mut().zip(CONDITIONS) {
            values.measure(bench, &servers, condition).await.with_context(|| condition.name)?;
        }
    }
    for (values, condition) in measured.into_iter().zip(CONDITIONS) {
        let pairs = [
            ("round trip to PostgreSQL", "ms", values.round_trip, &plain.round_trip),
            ("drain", "/s", values.drained, &plain.drained),
            ("replay", "/s", values.replayed, &plain.replayed),
            ("ingress, 256 connections", "/s", values.ingress, &plain.ingress),
            ("post to event, 200/s, p99", "ms", values.post_to_event, &plain.post_to_event),
        ];
        figures.extend(pairs.map(|(what, unit, values, plain)| {
            Figure::new(format!("{what}, {}", condition.name), unit, values).compared_to(PLAIN.name, plain.clone())
        }));
    }
    Ok(figures)
}

/// Long drains beside a transaction that stays open. What it costs grows with the number of events that were published since.
async fn beside_a_foreign_transaction(bench: &Bench, servers: &Servers) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for count in bench.settings.foreign {
        let (mut beside, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..bench.settings.repeat {
            alone.push(drain_under(bench, servers, PLAIN, count).await?);
            beside.push(drain_under(bench, servers, FOREIGN_TRANSACTION, count).await?);
        }
        let name = format!("drain of {count}, {}", FOREIGN_TRANSACTION.name);
        figures.push(Figure::new(name, "/s", beside).compared_to(PLAIN.name, alone));
    }
    Ok(figures)
}

async fn drain_under(bench: &Bench, servers: &Servers, condition: Condition, count: u32) -> Result<f64> {
    let endpoints = condition.endpoints(servers)?;
    let mut bench = bench.under(endpoints);
    bench.settings.count = count;
    let _foreign = condition.begin_foreign_transaction(&servers.plain.postgres).await?;
    Ok(drain::drain(&bench, Database::Postgres, Drainer::Banklink { batch: DEFAULT_BATCH }).await?.events)
}

impl Values {
    async fn measure(&mut self, bench: &Bench, servers: &Servers, condition: Condition) -> Result<()> {
        let bench = bench.under(condition.endpoints(servers)?);
        let foreign = condition.begin_foreign_transaction(&servers.plain.postgres).await?;
        self.round_trip.push(round_trip(&bench.endpoints.measured.postgres).await?);
        let mut letters = dead_letters::Values::default();
        letters.measure(&bench, Database::Postgres, bench.settings.count as usize).await?;
        self.drained.extend(letters.drained);
        self.replayed.extend(letters.replayed);
        let what = |what: &str| format!("{what}, {}", condition.name);
        let (load, _) = ingress::post_to(&bench, Ingress::Banklink, CONNECTIONS, &what("ingress")).await?;
        self.ingress.push(load.rate);
        let took = end_to_end::post_to_event(&bench, RATE, Processes::One, &what("post to event")).await?;
        self.post_to_event.push(quantile(&took, 0.99));
        drop(foreign);
        Ok(())
    }
}

impl Condition {
    fn endpoints(self, servers: &Servers) -> Result<Endpoints> {
        let mut endpoints = Endpoints::plain(servers.plain.clone());
        let Urls { amqp, postgres } = &mut endpoints.measured;
        let mut amqp_url = Url::parse(amqp)?;
        if self.tls {
            let root = servers.root_certificate().display().to_string();
            amqp_url = Url::parse(&amqp.replacen("amqp://", "amqps://", 1))?;
            set_port(&mut amqp_url, servers.amqps_port)?;
            postgres.query_pairs_mut().clear().append_pair("sslmode", "verify-full").append_pair("sslrootcert", &root);
            endpoints.root_certificate = Some(root);
        }
        if !self.round_trip.is_zero() {
            for url in [&mut amqp_url, &mut *postgres] {
                let server = SocketAddr::from(([127, 0, 0, 1], url.port().context("no port")?));
                set_port(url, delay::start(server, self.round_trip)?.port())?;
            }
        }
        *amqp = amqp_url.into();
        endpoints.commit_delay = self.commit_delay;
        Ok(endpoints)
    }

    /// Begins a transaction in another database, which stays open until the connection is dropped. It has a number of its own, as one
    /// that writes: PostgreSQL keeps rows that were deleted since then, in every database.
    async fn begin_foreign_transaction(self, server: &Url) -> Result<Option<PgConnection>> {
        if !self.foreign_transaction {
            return Ok(None);
        }
        let mut connection = with_deadline(PgConnection::connect(server.as_str())).await?;
        with_deadline(raw_sql("BEGIN; SELECT pg_current_xact_id()").execute(&mut connection)).await?;
        Ok(Some(connection))
    }
}

fn set_port(url: &mut Url, port: u16) -> Result<()> {
    url.set_port(Some(port)).ok().context("a URL without a port")
}

/// The median time of an empty query, in milliseconds.
async fn round_trip(server: &Url) -> Result<f64> {
    let mut connection = with_deadline(PgConnection::connect(server.as_str())).await?;
    let mut took = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        with_deadline(raw_sql("").execute(&mut connection)).await?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    with_deadline(connection.close()).await?;
    Ok(median(&took))
}
