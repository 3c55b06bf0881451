//! The three ways in which a database can fail everybody at once, and how each heals.

use sea_orm::{ConnectionTrait, Database};

use crate::services::Services;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Outage {
    /// The server is stopped
    Away,
    /// The server answers, and the table that the worker writes is not there: a migration that went wrong, say
    MissingTable,
    /// The server answers, and only reads: a replica, as after a failover
    OnlyReads,
}

impl Outage {
    pub(crate) async fn begin(self, services: &Services) {
        match self {
            Self::Away => services.stop("postgres").await,
            Self::MissingTable => execute(services, &["ALTER TABLE bank_links RENAME TO gone"]).await,
            // What is connected keeps its own default, so it has to come anew.
            Self::OnlyReads => {
                let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                execute(services, &[&default_transaction_read_only(services, "on"), cut]).await;
            }
        }
    }

    /// Whoever found a server that only reads is not told that it writes again: to leave it is the worker's business.
    pub(crate) async fn end(self, services: &Services) {
        match self {
            Self::Away => services.start("postgres").await,
            Self::MissingTable => execute(services, &["ALTER TABLE gone RENAME TO bank_links"]).await,
            Self::OnlyReads => {
                let write = default_transaction_read_only(services, "off");
                // Else this would be refused as a write.
                execute(services, &[&format!("BEGIN READ WRITE; {write}; COMMIT")]).await;
            }
        }
    }
}

fn default_transaction_read_only(services: &Services, to: &str) -> String {
    let name = services.database_url.rsplit('/').next().unwrap_or_default();
    format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {to}")
}

/// On one connection, one after the other.
async fn execute(services: &Services, statements: &[&str]) {
    let database = Database::connect(&services.database_url).await.expect("a database");
    for statement in statements {
        database.execute_unprepared(statement).await.expect(statement);
    }
    database.close().await.expect("closed");
}
