//! The database of one app.

use sea_orm::{ConnectionTrait, Database};

use super::On;
use crate::{SERVICES_MISSING, postgres_url};

/// A database that exists as long as its app.
pub(super) struct TestDatabase {
    pub(super) on: On,
    pub(super) url: String,
    /// The URL of the PostgreSQL server.
    server: String,
    name: String,
    _directory: Option<tempfile::TempDir>,
}

impl TestDatabase {
    pub(super) async fn create(on: On, server: Option<String>, name: &str) -> Self {
        let name = name.to_owned();
        match on {
            On::Sqlite => {
                let directory = tempfile::tempdir().expect("a directory");
                let url = format!("sqlite://{}?mode=rwc", directory.path().join("banklink.db").display());
                Self { on, name, url, server: String::new(), _directory: Some(directory) }
            }
            On::Postgres => {
                let server = server.unwrap_or_else(postgres_url);
                let connection = Database::connect(&server).await.expect(SERVICES_MISSING);
                connection.execute_unprepared(&format!("CREATE DATABASE \"{name}\"")).await.expect("a database");
                let mut url = url::Url::parse(&server).expect("a URL");
                url.set_path(&name);
                Self { on, name, url: url.to_string(), server, _directory: None }
            }
        }
    }

    pub(super) async fn drop(&self) {
        if self.on == On::Postgres
            && let Ok(connection) = Database::connect(&self.server).await
        {
            let _ = connection.execute_unprepared(&format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name)).await;
        }
    }
}
