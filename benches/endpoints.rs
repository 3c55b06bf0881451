//! Where RabbitMQ and PostgreSQL are: for the bench itself, and for the programs that it measures.

use std::time::Duration;

use url::Url;

use crate::settings::Settings;

/// The addresses of the services, and what makes them harder to use than a plain connection on the same machine.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    /// The bench connects here, always without TLS and without delay.
    pub(crate) direct: Urls,
    /// The measured programs connect here.
    pub(crate) measured: Urls,
    /// How long each commit of PostgreSQL takes in addition.
    pub(crate) commit_delay: Duration,
    /// The certificates that the measured programs trust, as a file, instead of those of the system.
    pub(crate) root_certificate: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) amqp: String,
    /// The database that it names is replaced by that of the sandbox.
    pub(crate) postgres: Url,
}

impl Endpoints {
    /// The services that the environment names.
    pub(crate) fn from_settings(settings: &Settings) -> Self {
        Self::plain(Urls { amqp: settings.amqp_url.clone(), postgres: settings.postgres_url.clone() })
    }

    /// Both connect in the same way.
    pub(crate) fn plain(urls: Urls) -> Self {
        Self { measured: urls.clone(), direct: urls, commit_delay: Duration::ZERO, root_certificate: None }
    }
}
