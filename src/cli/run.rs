//! `banklink run`: builds the roles, runs them until a signal, and drains.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::flags::{Flags, setting_args};
use super::run_settings::{Role, RunSettings};
use super::running_roles::{Roles, Stores};
use super::{CommandError, migrate, settings};
use crate::app::App;
use crate::store::Store;
use crate::telemetry::{self, LevelFilter, Traces};
use crate::{admin, panics, reconnect, server, shutdown};

/// Maximum duration of the drain. Exporting the last traces takes up to 5 s more, so the process ends within 25 s of a signal.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
#[command(args = setting_args(settings::ALL))]
pub(super) struct Args {
    /// Roles to run in this process
    #[arg(value_name = "ROLE")]
    roles: Vec<Role>,
}

/// The listeners of the roles that serve HTTP.
struct Listeners {
    ingress: Option<TcpListener>,
    api: Option<TcpListener>,
    console: Option<TcpListener>,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    let settings = RunSettings::resolve(flags, &args.roles)?;
    let (format, endpoint) = settings.telemetry.clone();
    let telemetry =
        telemetry::start(format, LevelFilter::INFO, Traces::To(endpoint.as_deref())).map_err(CommandError::Usage)?;
    panics::log_locations();
    let ended = run_roles(settings).await;
    match &ended {
        Ok(()) => info!("stopped"),
        Err(cause) => error!("{cause:#}"),
    }
    telemetry.finish();
    ended.map_err(|_| CommandError::AlreadyReported)
}

/// Runs the roles until a signal or a permanent failure, then drains. A dependency that is unavailable is waited for.
async fn run_roles(mut settings: RunSettings) -> anyhow::Result<()> {
    let metrics = telemetry::install_metrics().context("cannot collect metrics")?;
    let stop = shutdown::on_signal().context("cannot watch for signals")?;
    let admin_listener = listen(&settings.admin_listen).await?;
    let listeners = Listeners {
        ingress: listen_for(settings.ingress.as_ref()).await?,
        api: listen_for(settings.api.as_ref()).await?,
        console: listen_for(settings.console.as_ref()).await?,
    };
    let stores = open_stores(settings.database_url.as_deref()).await?;
    let (address, topology) = settings.broker.clone();
    let migrate = settings.migrate;
    let app = App::new(address, topology);
    if let Some((_, console)) = &mut settings.console {
        console.show_own_process(admin_listener.local_addr()?);
        let listen = listeners.console.as_ref().map(TcpListener::local_addr).transpose()?;
        if let Some(weakness) = listen.and_then(|listen| console.weakness(listen)) {
            warn!("{weakness}");
        }
    }
    let roles = Roles::build(&app, stores.as_ref(), settings, &stop)?;
    info!(listen = %admin_listener.local_addr()?, "serving probes and metrics");
    let (reported, stop_admin) = (roles.clone(), CancellationToken::new());
    let readiness = move |role| reported.clone().readiness(role);
    let admin = tokio::spawn(admin::run(admin_listener, metrics, readiness, stop_admin.clone()));

    let mut running = JoinSet::new();
    if let (Some(ingress), Some(listener)) = (&roles.ingress, listeners.ingress) {
        info!(listen = %listener.local_addr()?, "accepting webhooks at /webhooks/lean");
        running.spawn(Arc::clone(ingress).run(listener));
    }
    if let (Some(api), Some(listener)) = (&roles.api, listeners.api) {
        info!(listen = %listener.local_addr()?, "answering at /v1");
        running.spawn(Arc::clone(api).run(listener));
    }
    if let (Some(console), Some(listener)) = (&roles.console, listeners.console) {
        info!(listen = %listener.local_addr()?, "showing the console");
        running.spawn(Arc::clone(console).run(listener));
    }
    let database = stores.as_ref().map(|stores| (&stores.work, migrate));
    let ended = tokio::select! {
        ended = run_until_stopped(&roles, database, &mut running, &stop) => ended,
        mismatch = app.until_mismatch() => Err(mismatch.into()),
    };

    stop.cancel();
    let drained = tokio::time::timeout(DRAIN_DEADLINE, async {
        while running.join_next().await.is_some() {}
        // The publishers end with the roles that use them, on which the admin address reports until now.
        stop_admin.cancel();
        let _ = admin.await;
        drop(roles);
        app.close().await;
        if let Some(stores) = stores {
            stores.close().await;
        }
    });
    if drained.await.is_err() {
        warn!("not everything was finished in time; unacknowledged deliveries return to their queues");
    }
    ended
}

/// Waits for the database (and migrates it if asked to), starts the roles that need it, and ends with `stop` or any role.
async fn run_until_stopped(
    roles: &Roles,
    database: Option<(&Store, bool)>,
    running: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    if let Some((store, migrate)) = database {
        match stop.run_until_cancelled(until_migrated(store, migrate)).await {
            Some(migrated) => migrated?,
            None => return Ok(()),
        }
    }
    if let Some(worker) = roles.worker.clone() {
        running.spawn(async move { worker.run().await });
    }
    if let Some(relay) = roles.relay.clone() {
        running.spawn(async move { relay.run().await });
    }
    if let Some(reconciler) = roles.reconciler.clone() {
        running.spawn(async move { reconciler.run().await });
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

/// Prepares to use the database, if a role does.
async fn open_stores(url: Option<&str>) -> anyhow::Result<Option<Stores>> {
    let Some(url) = url else { return Ok(None) };
    if let Some(weakness) = Store::connection_warning(url) {
        warn!("{weakness}");
    }
    Ok(Some(Stores::open(url).await?))
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

/// Listens on the address of a role, if the role runs.
async fn listen_for<T>(role: Option<&(String, T)>) -> anyhow::Result<Option<TcpListener>> {
    match role {
        Some((address, _)) => listen(address).await.map(Some),
        None => Ok(None),
    }
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    server::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
