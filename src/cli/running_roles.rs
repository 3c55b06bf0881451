//! The roles that run in one process, built from their settings.

use std::sync::Arc;

use futures_util::future::OptionFuture;
use tokio_util::sync::CancellationToken;

use super::run_settings::RunSettings;
use crate::api::Api;
use crate::app::App;
use crate::console::Console;
use crate::ingress::Ingress;
use crate::lean::Client;
use crate::readiness::Readiness;
use crate::reconcile::Reconciler;
use crate::reconnect::RetryLimit;
use crate::relay::Relay;
use crate::store::{Deadlines, Error, IfMissing, Store};
use crate::worker::Worker;

/// The database, over two sets of connections.
pub(super) struct Stores {
    /// For webhooks, events and the read API.
    pub(super) work: Store,
    /// For what people look at, which may take long and must not take a connection that webhooks need. It connects on first use.
    console: Store,
}

impl Stores {
    /// Prepares to use the database at `url`, as [`Store::open`] does.
    pub(super) async fn open(url: &str) -> Result<Self, Error> {
        let work = Store::open(url, IfMissing::Create, Deadlines::default()).await?;
        Ok(Self { work, console: Store::open(url, IfMissing::Create, Deadlines::for_commands()).await? })
    }

    /// Closes every connection.
    pub(super) async fn close(self) {
        tokio::join!(self.work.close(), self.console.close());
    }
}

/// The roles that run in this process.
#[derive(Clone)]
pub(super) struct Roles {
    pub(super) ingress: Option<Arc<Ingress>>,
    pub(super) worker: Option<Arc<Worker>>,
    pub(super) relay: Option<Arc<Relay>>,
    pub(super) api: Option<Arc<Api>>,
    pub(super) reconciler: Option<Arc<Reconciler>>,
    pub(super) console: Option<Arc<Console>>,
}

impl Roles {
    /// Builds the roles that have settings.
    pub(super) fn build(
        app: &App,
        stores: Option<&Stores>,
        settings: RunSettings,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let store = stores.map(|stores| &stores.work);
        let console = stores
            .zip(settings.console)
            .map(|(stores, (_, settings))| app.console(settings, &stores.console, stop.clone()));
        let client = |lean| Client::new(lean, RetryLimit::Unlimited);
        let reconciler = settings.reconciler.map(|(settings, lean)| client(lean).map(|client| (settings, client)));
        Ok(Self {
            ingress: settings.ingress.map(|(_, settings)| app.ingress(settings, stop.clone())),
            worker: store.zip(settings.worker).map(|(store, settings)| app.worker(settings, store, stop.clone())),
            relay: store.filter(|_| settings.relay).map(|store| app.relay(store, stop.clone())),
            api: store.zip(settings.api).map(|(store, (_, settings))| app.api(settings, store, stop.clone())),
            reconciler: store
                .zip(reconciler.transpose()?)
                .map(|(store, (settings, client))| app.reconciler(settings, client, store, stop.clone())),
            console: console.transpose()?,
        })
    }

    /// The readiness of the named role, or of every role of this process.
    pub(super) async fn readiness(self, role: Option<String>) -> Vec<Readiness> {
        let is_asked = |name: &str| role.as_ref().is_none_or(|role| role == name);
        let ingress = self.ingress.as_ref().filter(|_| is_asked("ingress")).map(|ingress| ingress.readiness());
        let worker = self.worker.as_ref().filter(|_| is_asked("worker")).map(|worker| worker.readiness());
        let relay = self.relay.as_ref().filter(|_| is_asked("relay")).map(|relay| relay.readiness());
        let api = self.api.as_ref().filter(|_| is_asked("api")).map(|api| api.readiness());
        let reconciler = self.reconciler.as_ref().filter(|_| is_asked("reconciler"));
        let reconciler = reconciler.map(|reconciler| reconciler.readiness());
        let console = self.console.as_ref().filter(|_| is_asked("console")).map(|console| console.readiness());
        let (ingress, worker, relay, api, reconciler, console) = tokio::join!(
            OptionFuture::from(ingress),
            OptionFuture::from(worker),
            OptionFuture::from(relay),
            OptionFuture::from(api),
            OptionFuture::from(reconciler),
            OptionFuture::from(console),
        );
        [ingress, worker, relay, api, reconciler, console].into_iter().flatten().collect()
    }
}
