//! The roles of `banklink run`, and the settings that they use.

use std::sync::Arc;

use clap::ValueEnum;

use super::flags::{Flags, Problems};
use super::{console_settings, settings};
use crate::broker::{Address, Topology};
use crate::{api, console, ingress, lean, reconcile, telemetry, worker};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Receives webhooks and publishes them to the work queue
    Ingress,
    /// Writes webhooks and events to the database, and records dead letters
    Worker,
    /// Publishes events from the outbox
    Relay,
    /// Answers which banks a customer has linked, and tells of changes
    Api,
    /// Compares what Lean lists with what is here, and sends what is missing
    Reconciler,
    /// Shows operators how things stand, and lets them deal with dead letters
    Console,
}

/// The roles of the main job: those that run if none is named.
const DEFAULT_ROLES: [Role; 3] = [Role::Ingress, Role::Worker, Role::Relay];

/// What the roles of a process need, and nothing else.
pub(super) struct RunSettings {
    pub(super) broker: (Address, Arc<Topology>),
    pub(super) telemetry: (telemetry::LogFormat, Option<String>),
    pub(super) admin_listen: String,
    /// The address that receives webhooks, and the ingress's own settings.
    pub(super) ingress: Option<(String, ingress::Settings)>,
    pub(super) database_url: Option<String>,
    /// Whether to migrate the schema before the roles on it start.
    pub(super) migrate: bool,
    pub(super) worker: Option<worker::Settings>,
    pub(super) relay: bool,
    /// The address of the read API, and its own settings.
    pub(super) api: Option<(String, api::Settings)>,
    /// The settings of the reconciler, and where Lean's API is.
    pub(super) reconciler: Option<(reconcile::Settings, lean::Settings)>,
    /// The address of the console, and its own settings.
    pub(super) console: Option<(String, console::Settings)>,
}

impl RunSettings {
    /// Reads the settings of `roles`; none means [`DEFAULT_ROLES`].
    pub(super) fn resolve(flags: &Flags, roles: &[Role]) -> Result<Self, Problems> {
        let roles = if roles.is_empty() { &DEFAULT_ROLES } else { roles };
        let runs = |role| roles.contains(&role);
        let migrates = runs(Role::Worker) || runs(Role::Relay);
        let uses_database = migrates || runs(Role::Api) || runs(Role::Reconciler) || runs(Role::Console);
        flags.resolve(|values| Self {
            broker: settings::broker(values),
            telemetry: (values.get(&settings::BANKLINK_LOG_FORMAT), values.get(&settings::OTEL_EXPORTER_OTLP_ENDPOINT)),
            admin_listen: values.get(&settings::BANKLINK_ADMIN_LISTEN),
            ingress: runs(Role::Ingress).then(|| settings::ingress(values)),
            database_url: uses_database.then(|| values.get(&settings::DATABASE_URL)),
            migrate: migrates && values.get(&settings::BANKLINK_MIGRATE),
            worker: runs(Role::Worker).then(|| settings::worker(values)),
            relay: runs(Role::Relay),
            api: runs(Role::Api).then(|| settings::api(values)),
            reconciler: runs(Role::Reconciler).then(|| (settings::reconciler(values), settings::lean(values))),
            console: runs(Role::Console).then(|| console_settings::console(values)),
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
        let problems =
            RunSettings::resolve(&Flags::of_subcommand(command.get_matches_from(empty)), Role::value_variants())
                .err()
                .unwrap();
        assert!(problems.to_string().contains("BANKLINK_EVENT_SOURCE: expected a URI reference"), "{problems}");
    }
}
