//! `banklink run`: opens what the roles need, runs them until a signal, and drains.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::flags::{Asks, Flags};
use super::{Failure, settings};
use crate::admin::{self, check};
use crate::broker::{Address, Link, Publisher, Purpose, Supervisor, Topology};
use crate::config::{self, Problems, Resolver, Setting};
use crate::store::{Missing, Store};
use crate::worker::Attached;
use crate::{ingress, reconnect, relay, shutdown, telemetry, worker};

/// How long draining may take.
const DRAIN_DEADLINE: Duration = Duration::from_secs(24);

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
struct Settings {
    broker: (Address, Arc<Topology>),
    telemetry: (telemetry::LogFormat, Option<String>),
    admin_listen: String,
    ingress: Option<(String, ingress::Settings)>,
    database: Option<Database>,
    worker: Option<worker::Settings>,
    relay: bool,
}

struct Database {
    url: String,
    migrate: bool,
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
    let telemetry = telemetry::start(format, endpoint.as_deref()).map_err(|error| anyhow!("cannot log: {error}"))?;
    let ended = run_roles(settings).await;
    if let Err(cause) = &ended {
        error!("{cause:#}");
    }
    info!("stopped");
    telemetry.finish();
    ended.map_err(Failure::from)
}

async fn run_roles(settings: Settings) -> anyhow::Result<()> {
    let metrics = telemetry::collect_metrics().context("cannot collect metrics")?;
    let stop = shutdown::on_signal().context("cannot watch for signals")?;
    let admin_listener = listen(&settings.admin_listen).await?;
    let ingress_listener = match &settings.ingress {
        Some((address, _)) => Some(listen(address).await?),
        None => None,
    };
    // Connections outlive the roles that use them.
    let (connections, closing) = (TaskTracker::new(), CancellationToken::new());
    let (address, topology) = settings.broker;
    let supervisor = Supervisor::new(address, topology, connections.clone(), closing.clone());
    let publish = supervisor.keep(Purpose::Publish);
    let consume = settings.worker.as_ref().map(|_| supervisor.keep(Purpose::Consume));
    let store = match &settings.database {
        Some(database) => Some(Store::open(&database.url, Missing::Create).await?),
        None => None,
    };

    let attached = Attached::default();
    let mut checks = Vec::new();
    if settings.ingress.is_some() {
        checks.push(admin::Role { name: "ingress", checks: vec![broker_check(&publish)] });
    }
    if let (Some(consume), Some(store)) = (&consume, &store) {
        let (consumer, attached) = (consume.clone(), attached.clone());
        let attached = check(move || std::future::ready(is_attached(&attached)));
        let broker = ("broker", check(move || std::future::ready(consumer.ready())));
        let publishing = ("publishing", broker_check(&publish).1);
        let checked = vec![broker, publishing, database_check(store), ("consumer", attached)];
        checks.push(admin::Role { name: "worker", checks: checked });
    }
    if let (true, Some(store)) = (settings.relay, &store) {
        checks.push(admin::Role { name: "relay", checks: vec![broker_check(&publish), database_check(store)] });
    }

    let roles = TaskTracker::new();
    let publisher = Publisher::start(publish.clone(), &connections);
    let admin_stop = CancellationToken::new();
    connections.spawn(admin::run(admin_listener, checks, metrics, admin_stop.clone()));
    if let (Some((_, settings)), Some(listener)) = (settings.ingress, ingress_listener) {
        info!(listen = %listener.local_addr()?, "taking webhooks in at /webhooks/lean");
        roles.spawn(ingress::run(listener, settings, publisher.clone(), stop.clone()));
    }
    let migrated = match (&store, &settings.database) {
        (Some(store), Some(database)) => until_migrated(store, database.migrate, &stop).await,
        _ => Ok(()),
    };
    if let (Ok(()), Some(store)) = (&migrated, store.clone()) {
        let events_written = Arc::new(Notify::new());
        if let (Some(settings), Some(consume)) = (settings.worker, consume) {
            let (store, publisher) = (store.clone(), publisher.clone());
            let worker = worker::Worker { settings, store, publisher, events_written: Arc::clone(&events_written) };
            roles.spawn(worker::run(worker, consume, attached, stop.clone()));
        }
        if settings.relay {
            let relay = relay::Relay { store, publisher: publisher.clone(), events_written };
            roles.spawn(relay::run(relay, stop.clone()));
        }
    }
    let ended = match migrated {
        Ok(()) => until_stopped(&publish, &stop).await,
        Err(unmigrated) => Err(unmigrated),
    };
    stop.cancel();
    roles.close();
    drop(publisher);
    let drained = tokio::time::timeout(DRAIN_DEADLINE, async {
        roles.wait().await;
        admin_stop.cancel();
        closing.cancel();
        connections.close();
        connections.wait().await;
        if let Some(store) = store {
            store.close().await;
        }
    });
    if drained.await.is_err() {
        warn!("not everything was finished in time; it comes back from the broker");
    }
    ended
}

/// Waits for the signal to stop, or for what no waiting can mend.
async fn until_stopped(publish: &Link, stop: &CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        mismatch = publish.mismatch() => Err(mismatch.into()),
    }
}

/// Waits until the database answers, and sees to its schema.
async fn until_migrated(store: &Store, migrate: bool, stop: &CancellationToken) -> anyhow::Result<()> {
    let told = |cause: &anyhow::Error, pause: Duration| warn!("waiting for the database: {cause:#}; again in {pause:?}");
    let answered = reconnect::until_done(
        async || {
            store.ping().await?;
            if migrate {
                migration::up(store.connection()).await.context("cannot migrate")?;
            }
            anyhow::Ok(migration::status(store.connection()).await?)
        },
        told,
    );
    let Some(steps) = stop.run_until_cancelled(answered).await else { return Ok(()) };
    match steps.iter().find(|step| !step.applied) {
        Some(step) => Err(anyhow!("the database lacks {}: run `banklink migrate up`, or set BANKLINK_MIGRATE=true", step.name)),
        None => Ok(()),
    }
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn broker_check(link: &Link) -> (&'static str, admin::Check) {
    let link = link.clone();
    ("broker", check(move || std::future::ready(link.ready())))
}

fn database_check(store: &Store) -> (&'static str, admin::Check) {
    let store = store.clone();
    ("database", check(move || {
        let store = store.clone();
        async move { store.ping().await }
    }))
}

fn is_attached(attached: &Attached) -> Result<(), &'static str> {
    if attached.is_attached() { Ok(()) } else { Err("no consumer is attached") }
}
