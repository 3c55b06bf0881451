//! The process of `banklink run`: builds the roles, runs them until a signal, and drains.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::migrate;
use super::roles::{Database, Settings};
use crate::admin;
use crate::app::App;
use crate::ingress::Ingress;
use crate::readiness::Readiness;
use crate::relay::Relay;
use crate::store::{Deadlines, IfMissing, Store};
use crate::worker::Worker;
use crate::{reconnect, shutdown, telemetry};

/// Maximum duration of the drain. Exporting the last traces takes up to 5 s more, so the process ends within 25 s of a signal.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

/// The roles that run in this process.
#[derive(Clone, Default)]
struct Roles {
    ingress: Option<Arc<Ingress>>,
    worker: Option<Arc<Worker>>,
    relay: Option<Arc<Relay>>,
}

/// Everything that the roles need, opened; no role is running yet.
pub(super) struct Process {
    app: App,
    roles: Roles,
    listener: Option<TcpListener>,
    database: Option<(Store, Database)>,
    running: JoinSet<()>,
    stop: CancellationToken,
}

impl Process {
    /// Opens everything. A dependency that is unavailable is waited for later; an address that is in use is an error here.
    pub(super) async fn open(settings: Settings) -> anyhow::Result<Self> {
        let metrics = telemetry::install_metrics().context("cannot collect metrics")?;
        let stop = shutdown::on_signal().context("cannot watch for signals")?;
        let admin_listener = listen(&settings.admin_listen).await?;
        let (listener, ingress) = match settings.ingress {
            Some((address, settings)) => (Some(listen(&address).await?), Some(settings)),
            None => (None, None),
        };
        let database = match settings.database {
            Some(database) => {
                Some((Store::open(&database.url, IfMissing::Create, Deadlines::default()).await?, database))
            }
            None => None,
        };
        let (address, topology) = settings.broker;
        let app = App::new(address, topology);
        let mut roles =
            Roles { ingress: ingress.map(|ingress| app.ingress(ingress, stop.clone())), ..Roles::default() };
        if let Some((store, _)) = &database {
            roles.worker = settings.worker.map(|settings| app.worker(settings, store, stop.clone()));
            roles.relay = settings.relay.then(|| app.relay(store, stop.clone()));
        }
        info!(listen = %admin_listener.local_addr()?, "serving probes and metrics");
        let reported = roles.clone();
        let readiness = move |role: Option<String>| {
            let roles = reported.clone();
            async move { roles.readiness(role.as_deref()).await }
        };
        app.spawn(admin::run(admin_listener, metrics, readiness, app.closing()));
        Ok(Self { app, roles, listener, database, running: JoinSet::new(), stop })
    }

    /// Runs the roles until a signal or a permanent failure, then drains.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        if let (Some(ingress), Some(listener)) = (&self.roles.ingress, self.listener.take()) {
            info!(listen = %listener.local_addr()?, "accepting webhooks at /webhooks/lean");
            self.running.spawn(Arc::clone(ingress).run(listener));
        }
        let ended = tokio::select! {
            ended = run_until_stopped(&self.roles, &self.database, &mut self.running, &self.stop) => ended,
            mismatch = self.app.mismatch() => Err(mismatch.into()),
        };
        self.drain().await;
        ended
    }

    /// Lets the roles finish their work, then closes what they depend on.
    async fn drain(mut self) {
        self.stop.cancel();
        let drained = tokio::time::timeout(DRAIN_DEADLINE, async {
            while self.running.join_next().await.is_some() {}
            // The publishers end with the roles that use them.
            drop(self.roles);
            self.app.close().await;
            if let Some((store, _)) = self.database {
                store.close().await;
            }
        });
        if drained.await.is_err() {
            warn!("not everything was finished in time; unacknowledged deliveries return to their queues");
        }
    }
}

/// Starts worker and relay once the database is migrated, and waits for the end of any role, or for `stop`.
async fn run_until_stopped(
    roles: &Roles,
    database: &Option<(Store, Database)>,
    running: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    if let Some((store, Database { migrate, .. })) = database {
        match stop.run_until_cancelled(until_migrated(store, *migrate)).await {
            Some(migrated) => migrated?,
            None => return Ok(()),
        }
        if let Some(worker) = roles.worker.clone() {
            running.spawn(async move { worker.run().await });
        }
        if let Some(relay) = roles.relay.clone() {
            running.spawn(async move { relay.run().await });
        }
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        Some(ended) = running.join_next() => Err(match ended {
            Ok(()) => anyhow!("a role ended although the process is not stopping"),
            Err(panic) => anyhow!("a role panicked: {panic}"),
        }),
    }
}

impl Roles {
    /// The readiness of the named role, or of every role of this process.
    async fn readiness(&self, role: Option<&str>) -> Vec<Readiness> {
        let is_asked = |name: &str| role.is_none_or(|role| role == name);
        let ingress = async {
            let ingress = self.ingress.as_ref().filter(|_| is_asked("ingress"))?;
            Some(ingress.readiness().await)
        };
        let worker = async {
            let worker = self.worker.as_ref().filter(|_| is_asked("worker"))?;
            Some(worker.readiness().await)
        };
        let relay = async {
            let relay = self.relay.as_ref().filter(|_| is_asked("relay"))?;
            Some(relay.readiness().await)
        };
        let (ingress, worker, relay) = tokio::join!(ingress, worker, relay);
        [ingress, worker, relay].into_iter().flatten().collect()
    }
}

/// Waits until the database answers, and brings up its schema if asked to.
async fn until_migrated(store: &Store, migrate: bool) -> anyhow::Result<()> {
    let on_failure =
        |cause: &anyhow::Error, delay: Duration| warn!("waiting for the database: {cause:#}; retrying in {delay:?}");
    let attempt = async || {
        store.ping().await?;
        let steps = migrate::status(store).await?;
        if !migrate || steps.iter().all(|step| step.applied) {
            return Ok(steps);
        }
        migrate::up(store).await.context("cannot migrate")?;
        migrate::status(store).await
    };
    match migrate::missing(&reconnect::retry_until_ok(attempt, on_failure).await) {
        Some(step) => {
            Err(anyhow!("the database lacks {step}: run `banklink migrate up`, or set BANKLINK_MIGRATE=true"))
        }
        None => Ok(()),
    }
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
