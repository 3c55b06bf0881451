//! The outages: three ways in which a database can fail all of its clients, and how each ends.

use sea_orm::{ConnectionTrait, Database};
use testkit::services::Services;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Outage {
    /// The server is stopped
    #[value(name = "away")]
    Stopped,
    /// The server answers, but the table that the worker writes is missing, for example after a failed migration
    MissingTable,
    /// The server answers, but only reads, like a replica after a failover
    #[value(name = "only-reads")]
    ReadOnly,
}

impl Outage {
    pub(crate) async fn begin(self, services: &Services) {
        match self {
            Self::Stopped => services.stop("postgres").await,
            Self::MissingTable => execute(services, &["ALTER TABLE bank_links RENAME TO gone"]).await,
            Self::ReadOnly => {
                // A session reads the default when it connects, so existing sessions are terminated.
                let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
                execute(services, &[&set_read_only(services, "on"), terminate]).await;
            }
        }
    }

    /// Sessions that were opened while the database was read-only stay read-only: the worker has to replace them.
    pub(crate) async fn end(self, services: &Services) {
        match self {
            Self::Stopped => services.start("postgres").await,
            Self::MissingTable => execute(services, &["ALTER TABLE gone RENAME TO bank_links"]).await,
            Self::ReadOnly => {
                let set = set_read_only(services, "off");
                // Without READ WRITE, PostgreSQL would refuse this statement as well.
                execute(services, &[&format!("BEGIN READ WRITE; {set}; COMMIT")]).await;
            }
        }
    }
}

fn set_read_only(services: &Services, value: &str) -> String {
    let name = services.database_url.rsplit('/').next().unwrap_or_default();
    format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {value}")
}

/// Executes the statements in turn on one new connection.
async fn execute(services: &Services, statements: &[&str]) {
    let database = Database::connect(&services.database_url).await.expect("a database");
    for statement in statements {
        database.execute_unprepared(statement).await.expect(statement);
    }
    database.close().await.expect("closed");
}
