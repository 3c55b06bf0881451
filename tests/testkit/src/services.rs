//! A private RabbitMQ and PostgreSQL for one test, which may stop, kill and reconfigure them.

use std::path::PathBuf;

use tokio::process::Command;

use crate::repository;
use crate::tls::Certificates;
use crate::waiting::within;

/// A private instance of `deploy/services`. Dropping it stops the servers and deletes their data.
pub struct Services {
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// The URL of the private RabbitMQ; empty if it was not requested.
    pub amqp_url: String,
    /// The URL of the private PostgreSQL; empty if it was not requested.
    pub database_url: String,
    /// The certificates of the private PostgreSQL, if it offers TLS.
    pub certificates: Option<Certificates>,
    /// The URL of the PgBouncer before it; empty if it was not requested.
    pub pgbouncer_url: String,
}

impl Services {
    /// Starts `services` ("rabbitmq", "postgres", "pgbouncer"). `name` is the directory under `.local` that holds their data.
    pub async fn up(name: &str, services: &[&str]) -> Self {
        Self::up_with(name, services, Vec::new()).await
    }

    /// Like [`Services::up`], with environment variables for every call of `deploy/services`.
    pub async fn up_with(name: &str, services: &[&str], environment: Vec<(&'static str, String)>) -> Self {
        let directory = repository().join(".local").join(name);
        let empty = String::new;
        let (amqp_url, database_url, pgbouncer_url) = (empty(), empty(), empty());
        let mut up = Self { directory, environment, certificates: None, amqp_url, database_url, pgbouncer_url };
        let printed = up.call(&[&["up", "--private"], services].concat()).await;
        let url = |name: &str| {
            printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        (up.amqp_url, up.database_url, up.pgbouncer_url) = (url("AMQP_URL"), url("DATABASE_URL"), url("PGBOUNCER_URL"));
        up
    }

    /// Like [`Services::up`]; the PostgreSQL offers TLS.
    pub async fn up_with_tls(name: &str, services: &[&str]) -> Self {
        let certificates = Certificates::new();
        let conf = vec![("BANKLINK_POSTGRES_EXTRA_CONF", certificates.postgres_conf())];
        let mut up = Self::up_with(name, services, conf).await;
        up.certificates = Some(certificates);
        up
    }

    /// Stops a server and keeps its data.
    pub async fn stop(&self, service: &str) {
        self.call(&["stop", service]).await;
    }

    /// Starts a stopped server with its data, on the same port.
    pub async fn start(&self, service: &str) {
        self.call(&["start", service]).await;
    }

    /// Sends SIGKILL to a server.
    pub async fn kill(&self, service: &str) {
        self.call(&["kill", service]).await;
    }

    /// Runs rabbitmqctl and returns its output.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        self.call(&[&["ctl"], arguments].concat()).await
    }

    /// The command line that runs rabbitmqctl on the private node, in an environment that [`Services::configure`] has set.
    #[must_use]
    pub fn ctl_command(&self) -> String {
        format!("{} ctl", repository().join("deploy/services").display())
    }

    /// Sets the environment in which `deploy/services` controls these servers.
    pub fn configure<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("BANKLINK_SERVICES_DIR", &self.directory).envs(self.environment.iter().cloned());
        command.env_remove("AMQP_URL").env_remove("DATABASE_URL")
    }

    async fn call(&self, arguments: &[&str]) -> String {
        let output = within(self.command(arguments).output()).await.expect("deploy/services runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(repository().join("deploy/services"));
        self.configure(command.args(arguments));
        command
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let down = self.command(&["down"]).into_std().output();
        let succeeded = down.is_ok_and(|down| down.status.success());
        assert!(succeeded || std::thread::panicking(), "deploy/services down failed");
    }
}
