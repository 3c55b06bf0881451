//! The program as a process, on an app's namespace and database.

use super::TestApp;
use crate::lean_api::{CLIENT_ID, CLIENT_SECRET, LeanApi};
use crate::process::{Invocation, banklink};
use crate::{SECRET, amqp_url};

impl TestApp {
    /// A command, configured for this app.
    pub fn command(&self, arguments: &[&str]) -> Invocation {
        banklink(arguments)
            .env("AMQP_URL", amqp_url())
            .env("DATABASE_URL", self.database_url())
            .env("BANKLINK_NAMESPACE", &self.namespace)
            .env("BANKLINK_RETRY_SCHEDULE", self.schedule)
            .env("BANKLINK_DELIVERY_LIMIT", self.delivery_limit.to_string())
    }

    /// A command, configured for this app and for a stand-in of Lean's API.
    pub fn lean_command(&self, lean: &LeanApi, arguments: &[&str]) -> Invocation {
        self.command(arguments)
            .env("LEAN_API_URL", &lean.url)
            .env("LEAN_AUTH_URL", &lean.url)
            .env("LEAN_CLIENT_ID", CLIENT_ID)
            .env("LEAN_CLIENT_SECRET", CLIENT_SECRET)
    }

    /// One role as a process, on free ports.
    pub fn role(&self, role: &str) -> Invocation {
        self.command(&["run", role]).env("LEAN_WEBHOOK_SECRETS", SECRET).on_free_ports()
    }

    /// Every role in one process, on free ports.
    pub fn all_roles(&self) -> Invocation {
        self.command(&["run"]).env("LEAN_WEBHOOK_SECRETS", SECRET).on_free_ports()
    }
}
