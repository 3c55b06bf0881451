//! `banklink run`: which roles, and what they have to know.

use std::sync::Arc;

use anyhow::anyhow;
use clap::ValueEnum;
use tracing::{error, info};

use super::flags::{Asks, Flags};
use super::process::Process;
use super::{Failure, settings};
use crate::broker::{Address, Topology};
use crate::config::{self, Problems, Resolver, Setting};
use crate::telemetry::{self, LevelFilter};
use crate::{ingress, worker};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The roles to run in this process
    #[arg(value_name = "ROLE")]
    roles: Vec<Role>,
    #[command(flatten)]
    flags: Flags<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Takes webhooks in
    Ingress,
    /// Brings them into the database
    Worker,
    /// Publishes the events that follow
    Relay,
}

pub(super) struct Run;

impl Asks for Run {
    const FOR: &'static [&'static Setting] = &[
        &config::DATABASE_URL,
        &config::AMQP_URL,
        &config::NAMESPACE,
        &config::MIGRATE,
        &config::SECRETS,
        &config::LISTEN,
        &config::ADMIN_LISTEN,
        &config::MAX_BODY_BYTES,
        &config::INGRESS_DEADLINE,
        &config::INGRESS_MAX_IN_FLIGHT,
        &config::ALLOWED_IPS,
        &config::TRUSTED_PROXIES,
        &config::BATCH_SIZE,
        &config::PREFETCH,
        &config::RETRY_SCHEDULE,
        &config::DELIVERY_LIMIT,
        &config::EVENT_SOURCE,
        &config::LOG_FORMAT,
        &config::OTLP_ENDPOINT,
    ];
}

/// What the named roles need, and only that.
pub(super) struct Settings {
    pub(super) broker: (Address, Arc<Topology>),
    pub(super) telemetry: (telemetry::LogFormat, Option<String>),
    pub(super) admin_listen: String,
    /// Where the ingress listens, and what it has to know.
    pub(super) ingress: Option<(String, ingress::Settings)>,
    pub(super) database: Option<Database>,
    pub(super) worker: Option<worker::Settings>,
    pub(super) relay: bool,
}

pub(super) struct Database {
    pub(super) url: String,
    /// Whether its schema is brought up before anything uses it.
    pub(super) migrate: bool,
}

impl Settings {
    fn resolve(mut resolver: Resolver<impl Fn(&str) -> Option<String>>, roles: &[Role]) -> Result<Self, Problems> {
        let r = &mut resolver;
        let runs = |role| roles.is_empty() || roles.contains(&role);
        let broker = settings::broker(r);
        let telemetry = settings::telemetry(r);
        let admin_listen = settings::address(r, &config::ADMIN_LISTEN);
        let ingress = runs(Role::Ingress).then(|| settings::address(r, &config::LISTEN).zip(settings::ingress(r)));
        let database = (runs(Role::Worker) || runs(Role::Relay))
            .then(|| settings::database_url(r).zip(settings::flag(r, &config::MIGRATE)));
        let worker = runs(Role::Worker).then(|| settings::worker(r));
        let made = || {
            Some(Self {
                broker: broker?,
                telemetry: telemetry?,
                admin_listen: admin_listen?,
                ingress: ingress.map_or(Some(None), |ingress| ingress.map(Some))?,
                database: database
                    .map_or(Some(None), |made| made.map(|(url, migrate)| Some(Database { url, migrate })))?,
                worker: worker.map_or(Some(None), |worker| worker.map(Some))?,
                relay: runs(Role::Relay),
            })
        };
        let made = made();
        resolver.finish(made)
    }
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let settings = Settings::resolve(args.flags.resolver(), &args.roles)?;
    let (format, endpoint) = settings.telemetry.clone();
    let telemetry = telemetry::start(format, LevelFilter::INFO, endpoint.as_deref())
        .map_err(|error| anyhow!("cannot log: {error}"))?;
    let ended = async { Process::open(settings).await?.run().await }.await;
    match &ended {
        Ok(()) => info!("stopped"),
        Err(cause) => error!("{cause:#}"),
    }
    telemetry.finish();
    ended.map_err(|_| Failure::Told)
}
