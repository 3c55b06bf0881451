//! The roles of `banklink run`, and the settings that they use.

use std::sync::Arc;

use clap::ValueEnum;

use super::flags::{Flags, Problems};
use super::settings;
use crate::broker::{Address, Topology};
use crate::{ingress, telemetry, worker};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Receives webhooks and publishes them to the work queue
    Ingress,
    /// Writes webhooks and events to the database, and records dead letters
    Worker,
    /// Publishes events from the outbox
    Relay,
}

/// What the roles of a process need, and nothing else.
pub(super) struct RunSettings {
    pub(super) broker: (Address, Arc<Topology>),
    pub(super) telemetry: (telemetry::LogFormat, Option<String>),
    pub(super) admin_listen: String,
    /// The address that receives webhooks, and the ingress's own settings.
    pub(super) ingress: Option<(String, ingress::Settings)>,
    pub(super) database_url: Option<String>,
    /// Whether to migrate the schema before worker and relay start.
    pub(super) migrate: bool,
    pub(super) worker: Option<worker::Settings>,
    pub(super) relay: bool,
}

impl RunSettings {
    /// Reads the settings of `roles`; none means all roles.
    pub(super) fn resolve(flags: &Flags, roles: &[Role]) -> Result<Self, Problems> {
        let runs = |role| roles.is_empty() || roles.contains(&role);
        let uses_database = runs(Role::Worker) || runs(Role::Relay);
        flags.resolve(|values| Self {
            broker: settings::broker(values),
            telemetry: (values.get(&settings::BANKLINK_LOG_FORMAT), values.get(&settings::OTEL_EXPORTER_OTLP_ENDPOINT)),
            admin_listen: values.get(&settings::BANKLINK_ADMIN_LISTEN),
            ingress: runs(Role::Ingress).then(|| settings::ingress(values)),
            database_url: uses_database.then(|| values.get(&settings::DATABASE_URL)),
            migrate: uses_database && values.get(&settings::BANKLINK_MIGRATE),
            worker: runs(Role::Worker).then(|| settings::worker(values)),
            relay: runs(Role::Relay),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{flag, setting_args};

    #[test]
    fn every_default_is_valid() {
        // An empty flag is invalid or the default itself; an invalid one is replaced by its default.
        let empty = settings::ALL.iter().map(|setting| format!("--{}=", flag(setting.variable)));
        let command = clap::Command::new("test").no_binary_name(true).args(setting_args(settings::ALL));
        let problems = RunSettings::resolve(&Flags::of_subcommand(command.get_matches_from(empty)), &[]).err().unwrap();
        assert!(problems.to_string().contains("BANKLINK_EVENT_SOURCE: expected a URI reference"), "{problems}");
    }
}
