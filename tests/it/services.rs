//! A RabbitMQ and a PostgreSQL of one test's own, which it may stop and start.

use std::path::PathBuf;

use tokio::process::Command;

use crate::waiting::within;

/// A private instance of `deploy/services`. Dropping it takes it down.
pub(crate) struct Services {
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    pub(crate) amqp_url: String,
    pub(crate) database_url: String,
}

impl Services {
    /// Brings those services up, under a directory of that name.
    pub(crate) async fn up(name: &str, services: &[&str]) -> Self {
        Self::up_with(name, services, Vec::new()).await
    }

    /// The same, with variables that every call of `deploy/services` is given.
    pub(crate) async fn up_with(name: &str, services: &[&str], environment: Vec<(&'static str, String)>) -> Self {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".local").join(name);
        let mut up = Self { directory, environment, amqp_url: String::new(), database_url: String::new() };
        let printed = up.call(&[&["up", "--private"], services].concat()).await;
        let url = |name: &str| {
            printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        (up.amqp_url, up.database_url) = (url("AMQP_URL"), url("DATABASE_URL"));
        up
    }

    /// Stops a service, and keeps its data.
    pub(crate) async fn stop(&self, service: &str) {
        self.call(&["stop", service]).await;
    }

    /// Starts a service that was stopped, where it was.
    pub(crate) async fn start(&self, service: &str) {
        self.call(&["start", service]).await;
    }

    /// kill -9 of a service.
    pub(crate) async fn kill(&self, service: &str) {
        self.call(&["kill", service]).await;
    }

    /// Runs rabbitmqctl; what it prints.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        self.call(&[&["ctl"], arguments].concat()).await
    }

    async fn call(&self, arguments: &[&str]) -> String {
        let output = within(self.command(arguments).output()).await.expect("deploy/services runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/services");
        let mut command = Command::new(script);
        command.args(arguments).env("BANKLINK_SERVICES_DIR", &self.directory).envs(self.environment.iter().cloned());
        command.env_remove("AMQP_URL").env_remove("DATABASE_URL");
        command
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let down = self.command(&["down"]).into_std().output();
        assert!(down.is_ok_and(|down| down.status.success()), "deploy/services down");
    }
}
