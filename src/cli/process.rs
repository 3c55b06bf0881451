//! The process of `banklink run`: opens what the roles need, runs them until a signal, and drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::migrate;
use super::roles::{Database, Settings};
use crate::admin::{self, Check, check};
use crate::broker::{Connection, Publisher, Purpose, Supervisor};
use crate::store::{self, IfMissing, Store};
use crate::worker::{Attached, Connections, Worker};
use crate::{ingress, reconnect, relay, shutdown, telemetry, worker};

/// How long draining may take. The last traces take up to 5 s more, and the process is gone within 25 s of the signal.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

/// Everything open, nothing begun.
pub(super) struct Process {
    ingress: Option<(TcpListener, ingress::Settings, Publisher)>,
    worker: Option<(Connections, worker::Settings, Publisher)>,
    relay: Option<(Publisher, Publisher)>,
    store: Option<Store>,
    migrate: bool,
    /// The connection that every role publishes on, each over a channel of its own.
    publish: Connection,
    attached: Attached,
    /// Whether worker and relay have begun.
    begun: Arc<AtomicBool>,
    stop: CancellationToken,
    roles: JoinSet<()>,
    /// What the roles stand on, and ends after them: connections, publishers, the admin address.
    ground: TaskTracker,
    close: CancellationToken,
}

impl Process {
    /// Opens everything. What cannot be reached yet is waited for later; an address that is taken fails here.
    pub(super) async fn open(settings: Settings) -> anyhow::Result<Self> {
        let metrics = telemetry::install_metrics().context("cannot collect metrics")?;
        let stop = shutdown::on_signal().context("cannot watch for signals")?;
        let admin_listener = listen(&settings.admin_listen).await?;
        let ingress = match settings.ingress {
            Some((address, settings)) => Some((listen(&address).await?, settings)),
            None => None,
        };
        let (store, migrate) = match &settings.database {
            Some(Database { url, migrate }) => (Some(Store::open(url, IfMissing::Create).await?), *migrate),
            None => (None, false),
        };
        let (ground, close) = (TaskTracker::new(), CancellationToken::new());
        let (address, topology) = settings.broker;
        let supervisor = Supervisor::new(address, topology, ground.clone(), close.clone());
        let publish = supervisor.spawn(Purpose::Publish);
        let publisher = || Publisher::start(publish.clone(), &ground);
        let ingress = ingress.map(|(listener, settings)| (listener, settings, publisher()));
        let links =
            || Connections { work: supervisor.spawn(Purpose::Consume), dead: supervisor.spawn(Purpose::Record) };
        let worker = settings.worker.map(|settings| (links(), settings, publisher()));
        let relay = settings.relay.then(|| (publisher(), publisher()));
        let (roles, attached, begun) = (JoinSet::new(), Attached::default(), Arc::default());
        let process =
            Self { ingress, worker, relay, store, migrate, publish, attached, begun, stop, roles, ground, close };
        info!(listen = %admin_listener.local_addr()?, "probes and metrics");
        let admin = admin::run(admin_listener, process.checks(), metrics, process.close.clone());
        process.ground.spawn(admin);
        Ok(process)
    }

    /// Runs the roles until a signal, or until something happens that no waiting can mend; then drains.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        if let Some((listener, settings, publisher)) = self.ingress.take() {
            info!(listen = %listener.local_addr()?, "taking webhooks in at /webhooks/lean");
            self.roles.spawn(ingress::run(listener, settings, publisher, self.stop.clone()));
        }
        let publish = self.publish.clone();
        let ended = tokio::select! {
            ended = self.work() => ended,
            mismatch = publish.mismatch() => Err(mismatch.into()),
        };
        self.drain().await;
        ended
    }

    /// Starts worker and relay, once the database answers and has its schema, and watches over all roles.
    async fn work(&mut self) -> anyhow::Result<()> {
        if let Some(store) = self.store.clone() {
            match self.stop.run_until_cancelled(until_migrated(&store, self.migrate)).await {
                Some(migrated) => migrated?,
                None => return Ok(()),
            }
            self.begin_work(&store);
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            Some(ended) = self.roles.join_next() => Err(match ended {
                Ok(()) => anyhow!("a role ended by itself"),
                Err(panic) => anyhow!("a role broke: {panic}"),
            }),
        }
    }

    fn begin_work(&mut self, store: &Store) {
        self.begun.store(true, Ordering::Relaxed);
        let events_written = Arc::new(Notify::new());
        if let Some((links, settings, publisher)) = self.worker.take() {
            let (store, events_written) = (store.clone(), Arc::clone(&events_written));
            let worker = Worker { settings, store, publisher, events_written };
            self.roles.spawn(worker::run(worker, links, self.attached.clone(), self.stop.clone()));
        }
        if let Some((publisher, deferred_publisher)) = self.relay.take() {
            let relay = relay::Relay { store: store.clone(), publisher, deferred_publisher, events_written };
            self.roles.spawn(relay::run(relay, self.stop.clone()));
        }
    }

    /// Stops taking in, lets the roles finish what is in hand, then takes the ground from under them.
    async fn drain(mut self) {
        self.stop.cancel();
        self.ground.close();
        let drained = tokio::time::timeout(DRAIN_DEADLINE, async {
            while self.roles.join_next().await.is_some() {}
            // Publishers whose role never began end here.
            drop((self.ingress, self.worker, self.relay));
            self.close.cancel();
            self.ground.wait().await;
            if let Some(store) = self.store {
                store.close().await;
            }
        });
        if drained.await.is_err() {
            warn!("not everything was finished in time; it comes back from the broker");
        }
    }

    fn stays(&self) -> Check {
        let stop = self.stop.clone();
        check(move || std::future::ready(if stop.is_cancelled() { Err("told to stop") } else { Ok(()) }))
    }

    fn works(&self) -> Check {
        let begun = Arc::clone(&self.begun);
        check(move || std::future::ready(if begun.load(Ordering::Relaxed) { Ok(()) } else { Err("not there yet") }))
    }

    /// What each role of this process needs.
    fn checks(&self) -> Vec<admin::Role> {
        let mut roles = Vec::new();
        if let Some((_, _, publisher)) = &self.ingress {
            let checks = vec![("process", self.stays()), ("broker", publishes(publisher))];
            roles.push(admin::Role { name: "ingress", checks });
        }
        let Some(store) = &self.store else { return roles };
        if let Some((links, _, publisher)) = &self.worker {
            let (link, attached) = (links.work.clone(), self.attached.clone());
            let consumes = check(move || std::future::ready(link.ready()));
            let consumer = check(move || std::future::ready(attached.answer()));
            let broker = [("broker", publishes(publisher)), ("consuming", consumes), ("consumer", consumer)];
            let checks = [("process", self.stays())].into_iter().chain(broker);
            let database = writes(store, async |store| store.probe().await);
            let checks = checks.chain([("database", database)]).collect();
            roles.push(admin::Role { name: "worker", checks });
        }
        if let Some((publisher, _)) = &self.relay {
            let process = [("process", self.stays()), ("schema", self.works())];
            let database = writes(store, async |store| store.probe_outbox().await);
            let checks = process.into_iter().chain([("broker", publishes(publisher)), ("database", database)]);
            let checks = checks.collect();
            roles.push(admin::Role { name: "relay", checks });
        }
        roles
    }
}

/// Waits until the database answers, and sees to its schema.
async fn until_migrated(store: &Store, migrate: bool) -> anyhow::Result<()> {
    let told =
        |cause: &anyhow::Error, pause: Duration| warn!("waiting for the database: {cause:#}; again in {pause:?}");
    let attempt = async || {
        store.ping().await?;
        let steps = migrate::status(store).await?;
        if !migrate || steps.iter().all(|step| step.applied) {
            return Ok(steps);
        }
        migrate::up(store).await.context("cannot migrate")?;
        migrate::status(store).await
    };
    match migrate::missing(&reconnect::retry_until_ok(attempt, told).await) {
        Some(step) => {
            Err(anyhow!("the database lacks {step}: run `banklink migrate up`, or set BANKLINK_MIGRATE=true"))
        }
        None => Ok(()),
    }
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn publishes(publisher: &Publisher) -> Check {
    let readiness = publisher.readiness();
    check(move || std::future::ready(readiness.check()))
}

/// Only a write that is taken back tells whether work could be done: a database that only reads, or lacks a table, answers too.
fn writes<P>(store: &Store, probe: impl Fn(Store) -> P + Clone + Send + Sync + 'static) -> Check
where
    P: Future<Output = Result<(), store::Error>> + Send,
{
    let store = store.clone();
    admin::kept(check(move || {
        let (store, probe) = (store.clone(), probe.clone());
        async move {
            let probed = probe(store.clone()).await;
            if probed.is_err() {
                store.renew().await;
            }
            probed
        }
    }))
}
