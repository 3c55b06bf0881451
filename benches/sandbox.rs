//! The sandbox of one run: a namespace on RabbitMQ and a database, both deleted after the run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use sea_orm::DatabaseConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use serde_json::Value;
use url::Url;

use crate::args::Database;
use crate::endpoints::{Endpoints, Urls};
use crate::settings::Settings;
use crate::{api, broker, process, webhook};

/// Deadline of a database statement. The longest one is to vacuum millions of rows.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    pub(crate) namespace: String,
    /// For the bench itself, as `database_url`.
    pub(crate) amqp_url: String,
    pub(crate) database_url: String,
    /// The database as the measured programs reach it.
    measured_database_url: String,
    pub(crate) endpoints: Endpoints,
    database: Database,
    /// The directory of the SQLite file.
    directory: PathBuf,
    /// The banklink to measure.
    program: PathBuf,
}

impl Sandbox {
    /// Names the sandbox, and creates nothing yet.
    pub(crate) fn new(settings: &Settings, endpoints: &Endpoints, number: u32, database: Database) -> Self {
        let namespace = format!("banklink_bench_{}_{number}", std::process::id());
        let directory = std::env::temp_dir().join(&namespace);
        let url_of = |urls: &Urls| match database {
            Database::Postgres => with_path(&urls.postgres, &namespace),
            Database::Sqlite => format!("sqlite://{}?mode=rwc", directory.join("banklink.db").display()),
        };
        Self {
            amqp_url: endpoints.direct.amqp.clone(),
            database_url: url_of(&endpoints.direct),
            measured_database_url: url_of(&endpoints.measured),
            endpoints: endpoints.clone(),
            namespace,
            database,
            directory,
            program: settings.program.clone(),
        }
    }

    /// Creates the database, and lets banklink migrate it and declare its topology.
    pub(crate) async fn create(&self) -> Result<()> {
        match self.database {
            Database::Postgres => {
                self.execute_on_server(&format!("CREATE DATABASE {}", self.namespace)).await?;
                // This run should not pay for what earlier runs wrote. Not every user may request a checkpoint.
                let _ = self.execute_on_server("CHECKPOINT").await;
                self.delay_commits().await?;
            }
            Database::Sqlite => std::fs::create_dir(&self.directory)?,
        }
        process::output(self.banklink(&["migrate", "up"])).await?;
        process::output(self.banklink(&["topology", "apply"])).await?;
        Ok(())
    }

    /// PostgreSQL waits before a commit if at least `commit_siblings` other transactions are open.
    async fn delay_commits(&self) -> Result<()> {
        let microseconds = self.endpoints.commit_delay.as_micros();
        for setting in [format!("commit_delay = {microseconds}"), "commit_siblings = 0".to_owned()] {
            if microseconds > 0 {
                self.execute_on_server(&format!("ALTER DATABASE {} SET {setting}", self.namespace)).await?;
            }
        }
        Ok(())
    }

    /// Deletes the database, the queues and the exchanges.
    pub(crate) async fn delete(&self) -> Result<()> {
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory)?;
        }
        if self.database == Database::Postgres {
            self.execute_on_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.namespace)).await?;
        }
        let definitions = process::output(self.banklink(&["topology", "show", "--json"])).await?;
        let definitions: Value = serde_json::from_str(&definitions)?;
        let names = |kind: &str| {
            let listed = definitions[kind].as_array().cloned().unwrap_or_default();
            listed.into_iter().filter_map(|entry| Some(entry["name"].as_str()?.to_owned()))
        };
        let connection = broker::connect(&self.amqp_url).await?;
        let channel = broker::with_deadline(connection.create_channel()).await?;
        for queue in names("queues").chain([self.subscriber()]) {
            broker::with_deadline(channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default())).await?;
        }
        for exchange in names("exchanges") {
            let options = ExchangeDeleteOptions::default();
            broker::with_deadline(channel.exchange_delete(exchange.as_str().into(), options)).await?;
        }
        broker::with_deadline(connection.close(200, "done".into())).await
    }

    /// banklink with these arguments, in this sandbox and otherwise with its defaults.
    pub(crate) fn banklink(&self, arguments: &[&str]) -> Command {
        self.command(&self.program, arguments)
    }

    /// A ceiling, which is this program with these arguments, in this sandbox.
    pub(crate) fn ceiling(&self, arguments: &[&str]) -> Result<Command> {
        Ok(self.command(&std::env::current_exe()?, arguments))
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("AMQP_URL", &self.endpoints.measured.amqp)
            .env("DATABASE_URL", &self.measured_database_url)
            .envs(self.endpoints.root_certificate.iter().map(|file| ("SSL_CERT_FILE", file)))
            .env("BANKLINK_NAMESPACE", &self.namespace)
            .env("BANKLINK_LISTEN", "127.0.0.1:0")
            .env("BANKLINK_API_LISTEN", "127.0.0.1:0")
            .env("BANKLINK_API_TOKENS", api::TOKEN)
            .env("BANKLINK_CONSOLE_LISTEN", "127.0.0.1:0")
            .env("BANKLINK_ADMIN_LISTEN", "127.0.0.1:0")
            .env("BANKLINK_LOG_FORMAT", "json")
            .env("LEAN_WEBHOOK_SECRETS", webhook::SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// The exchange, and the queue, of webhooks.
    pub(crate) fn webhooks(&self) -> String {
        format!("{}.webhooks", self.namespace)
    }

    /// The exchange, and the queue, of dead messages.
    pub(crate) fn dead(&self) -> String {
        format!("{}.webhooks.dead", self.namespace)
    }

    /// The exchange of events.
    pub(crate) fn events(&self) -> String {
        format!("{}.events", self.namespace)
    }

    /// The queue of the bench's own subscriber.
    pub(crate) fn subscriber(&self) -> String {
        format!("{}.subscriber", self.namespace)
    }

    /// Connects to the database.
    pub(crate) async fn connect(&self) -> Result<DatabaseConnection> {
        Ok(sea_orm::Database::connect(&self.database_url).await?)
    }

    /// The numbers of bank links and of unpublished events.
    pub(crate) async fn count_rows(&self) -> Result<(usize, usize)> {
        const COUNT: &str = "SELECT (SELECT count(*) FROM bank_links), (SELECT count(*) FROM outbox_events)";
        let counted: Result<(i64, i64)> = with_deadline(async {
            match self.database {
                Database::Postgres => {
                    let mut connection = PgConnection::connect(&self.database_url).await?;
                    sqlx::query_as(COUNT).fetch_one(&mut connection).await
                }
                Database::Sqlite => {
                    let mut connection = SqliteConnection::connect(&self.database_url).await?;
                    sqlx::query_as(COUNT).fetch_one(&mut connection).await
                }
            }
        })
        .await;
        let (rows, events) = counted?;
        Ok((rows as usize, events as usize))
    }

    async fn execute_on_server(&self, sql: &str) -> Result<()> {
        let work = async {
            let mut server = PgConnection::connect(self.endpoints.direct.postgres.as_str()).await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await?;
            server.close().await
        };
        with_deadline(work).await.context("PostgreSQL")
    }
}

/// Waits for a database at most until its deadline.
pub(crate) async fn with_deadline<T>(work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    Ok(tokio::time::timeout(STATEMENT_DEADLINE, work).await.context("the database did not answer in time")??)
}

fn with_path(server: &Url, path: &str) -> String {
    let mut url = server.clone();
    url.set_path(path);
    url.into()
}
