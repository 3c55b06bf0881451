//! The process of `banklink run`: opens what the roles need, runs them until a signal, and drains.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::run::{Database, Settings};
use crate::admin::{self, Check, check};
use crate::broker::{Link, Publisher, Purpose, Supervisor};
use crate::store::{Missing, Store};
use crate::worker::{Attached, Worker};
use crate::{ingress, reconnect, relay, shutdown, telemetry, worker};

/// How long draining may take; with it, the process is gone within 25 s of the signal.
const DRAIN_DEADLINE: Duration = Duration::from_secs(24);

/// Everything open, nothing begun.
pub(super) struct Process {
    ingress: Option<(TcpListener, ingress::Settings)>,
    worker: Option<(Link, worker::Settings)>,
    relay: bool,
    store: Option<Store>,
    migrate: bool,
    publisher: Publisher,
    attached: Attached,
    stop: CancellationToken,
    roles: TaskTracker,
    /// What the roles stand on, and ends after them: connections, the publisher's task, the admin address.
    ground: TaskTracker,
    close: CancellationToken,
}

impl Process {
    /// Opens everything. What cannot be reached yet is waited for later; an address that is taken fails here.
    pub(super) async fn open(settings: Settings) -> anyhow::Result<Self> {
        let metrics = telemetry::collect_metrics().context("cannot collect metrics")?;
        let stop = shutdown::on_signal().context("cannot watch for signals")?;
        let admin_listener = listen(&settings.admin_listen).await?;
        let ingress = match settings.ingress {
            Some((address, settings)) => Some((listen(&address).await?, settings)),
            None => None,
        };
        let (store, migrate) = match &settings.database {
            Some(Database { url, migrate }) => (Some(Store::open(url, Missing::Create).await?), *migrate),
            None => (None, false),
        };
        let (ground, close) = (TaskTracker::new(), CancellationToken::new());
        let (address, topology) = settings.broker;
        let supervisor = Supervisor::new(address, topology, ground.clone(), close.clone());
        let publisher = Publisher::start(supervisor.keep(Purpose::Publish), &ground);
        let worker = settings.worker.map(|settings| (supervisor.keep(Purpose::Consume), settings));
        let (roles, attached, relay) = (TaskTracker::new(), Attached::default(), settings.relay);
        let process = Self { ingress, worker, relay, store, migrate, publisher, attached, stop, roles, ground, close };
        info!(listen = %admin_listener.local_addr()?, "probes and metrics");
        let admin = admin::run(admin_listener, process.checks(), metrics, process.close.clone());
        process.ground.spawn(admin);
        Ok(process)
    }

    /// Runs the roles until a signal, or until something happens that no waiting can mend; then drains.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        if let Some((listener, settings)) = self.ingress.take() {
            info!(listen = %listener.local_addr()?, "taking webhooks in at /webhooks/lean");
            self.roles.spawn(ingress::run(listener, settings, self.publisher.clone(), self.stop.clone()));
        }
        let link = self.publisher.link().clone();
        let work = async {
            self.begin_work().await?;
            self.stop.cancelled().await;
            Ok(())
        };
        let ended = tokio::select! {
            ended = work => ended,
            mismatch = link.mismatch() => Err(mismatch.into()),
        };
        self.drain().await;
        ended
    }

    /// Starts worker and relay, once the database answers and has its schema.
    async fn begin_work(&mut self) -> anyhow::Result<()> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let Some(migrated) = self.stop.run_until_cancelled(until_migrated(&store, self.migrate)).await else { return Ok(()) };
        migrated?;
        let events_written = Arc::new(Notify::new());
        if let Some((link, settings)) = self.worker.take() {
            let (store, publisher) = (store.clone(), self.publisher.clone());
            let worker = Worker { settings, store, publisher, events_written: Arc::clone(&events_written) };
            self.roles.spawn(worker::run(worker, link, self.attached.clone(), self.stop.clone()));
        }
        if self.relay {
            let relay = relay::Relay { store, publisher: self.publisher.clone(), events_written };
            self.roles.spawn(relay::run(relay, self.stop.clone()));
        }
        Ok(())
    }

    /// Stops taking in, lets the roles finish what is in hand, then takes the ground from under them.
    async fn drain(self) {
        self.stop.cancel();
        self.roles.close();
        self.ground.close();
        let drained = tokio::time::timeout(DRAIN_DEADLINE, async {
            self.roles.wait().await;
            drop(self.publisher);
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

    /// What each role of this process needs.
    fn checks(&self) -> Vec<admin::Role> {
        let publish = || ("broker", connected(self.publisher.link()));
        let mut roles = Vec::new();
        if self.ingress.is_some() {
            roles.push(admin::Role { name: "ingress", checks: vec![publish()] });
        }
        let Some(store) = &self.store else { return roles };
        if let Some((link, _)) = &self.worker {
            let attached = self.attached.clone();
            let consumer = check(move || std::future::ready(attached.answer()));
            let checks = vec![publish(), ("consuming", connected(link)), ("consumer", consumer), ("database", answers(store))];
            roles.push(admin::Role { name: "worker", checks });
        }
        if self.relay {
            roles.push(admin::Role { name: "relay", checks: vec![publish(), ("database", answers(store))] });
        }
        roles
    }
}

/// Waits until the database answers, and sees to its schema.
async fn until_migrated(store: &Store, migrate: bool) -> anyhow::Result<()> {
    let told = |cause: &anyhow::Error, pause: Duration| warn!("waiting for the database: {cause:#}; again in {pause:?}");
    let attempt = async || {
        store.ping().await?;
        if migrate {
            migration::up(store.connection()).await.context("cannot migrate")?;
        }
        anyhow::Ok(migration::status(store.connection()).await?)
    };
    let steps = reconnect::until_done(attempt, told).await;
    match steps.into_iter().find(|step| !step.applied) {
        Some(step) => Err(anyhow!("the database lacks {}: run `banklink migrate up`, or set BANKLINK_MIGRATE=true", step.name)),
        None => Ok(()),
    }
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn connected(link: &Link) -> Check {
    let link = link.clone();
    check(move || std::future::ready(link.ready()))
}

fn answers(store: &Store) -> Check {
    let store = store.clone();
    check(move || {
        let store = store.clone();
        async move { store.ping().await }
    })
}
