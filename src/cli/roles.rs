//! The roles that a process runs, and what they have to know.

use std::sync::Arc;

use clap::ValueEnum;

use super::settings;
use crate::broker::{Address, Topology};
use crate::config::{self, Problems, Resolver};
use crate::{ingress, telemetry, worker};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Takes webhooks in
    Ingress,
    /// Brings them into the database
    Worker,
    /// Publishes the events that follow
    Relay,
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
    /// Reads what those roles need; none named is all of them.
    pub(super) fn resolve(
        mut resolver: Resolver<impl Fn(&str) -> Option<String>>,
        roles: &[Role],
    ) -> Result<Self, Problems> {
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
