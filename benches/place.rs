//! A place of its own for each run: a namespace on the broker and a database, both gone afterwards.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use serde_json::Value;
use url::Url;

use crate::args::Database;
use crate::settings::Settings;
use crate::{Bench, broker, process, progress};

const DEADLINE: Duration = Duration::from_secs(300);

/// Where one run happens.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) amqp_url: String,
    pub(crate) database_url: String,
    pub(crate) database: Database,
    /// The directory of its SQLite file.
    directory: PathBuf,
}

/// The places that there are: those of runs under way, and those of runs that failed.
pub(crate) struct Places {
    amqp_url: String,
    postgres_url: Url,
    made: AtomicU32,
    standing: Mutex<Vec<Place>>,
}

impl Place {
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

    /// The queue of a subscriber.
    pub(crate) fn subscriber(&self) -> String {
        format!("{}.subscriber", self.namespace)
    }

    /// How many bank links and how many unpublished events there are.
    pub(crate) async fn rows(&self) -> Result<(usize, usize)> {
        const COUNT: &str = "SELECT (SELECT count(*) FROM bank_links), (SELECT count(*) FROM outbox_events)";
        let counted: Result<(i64, i64)> = in_time(async {
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
}

impl Places {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (amqp_url, postgres_url) = (settings.amqp_url.clone(), settings.postgres_url.clone());
        Self { amqp_url, postgres_url, made: AtomicU32::new(0), standing: Mutex::default() }
    }

    /// Makes a place: declared by banklink, and migrated by it.
    pub(crate) async fn make(&self, bench: &Bench, database: Database) -> Result<Place> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("banklink_bench_{}_{number}", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        let database_url = match database {
            Database::Postgres => with_database(&self.postgres_url, &name),
            Database::Sqlite => format!("sqlite://{}?mode=rwc", directory.join("banklink.db").display()),
        };
        let place = Place { namespace: name, amqp_url: self.amqp_url.clone(), database_url, database, directory };
        self.standing().push(place.clone());
        match database {
            Database::Postgres => {
                self.postgres(&format!("CREATE DATABASE {}", place.namespace)).await?;
                // What earlier runs wrote is not to be paid for in this one. Only some users may.
                let _ = self.postgres("CHECKPOINT").await;
            }
            Database::Sqlite => std::fs::create_dir(&place.directory)?,
        }
        process::output(process::banklink(bench, &place, &["migrate", "up"])).await?;
        process::output(process::banklink(bench, &place, &["topology", "apply"])).await?;
        Ok(place)
    }

    /// Takes a place away with all that is in it, or says why not: what was measured there is good all the same.
    pub(crate) async fn remove(&self, bench: &Bench, place: &Place) {
        match self.take_away(bench, place).await {
            Ok(()) => self.standing().retain(|standing| standing.namespace != place.namespace),
            Err(error) => progress::say(&format!("{} is left behind: {error:#}", place.namespace)),
        }
    }

    /// Takes away what is left.
    pub(crate) async fn remove_all(&self, bench: &Bench) {
        let standing = self.standing().clone();
        for place in standing {
            self.remove(bench, &place).await;
        }
    }

    async fn take_away(&self, bench: &Bench, place: &Place) -> Result<()> {
        if place.directory.exists() {
            std::fs::remove_dir_all(&place.directory)?;
        }
        if place.database == Database::Postgres {
            self.postgres(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", place.namespace)).await?;
        }
        // banklink itself knows what it declares.
        let definitions = process::output(process::banklink(bench, place, &["topology", "show", "--json"])).await?;
        let definitions: Value = serde_json::from_str(&definitions)?;
        let names = |kind: &str| {
            let listed = definitions[kind].as_array().cloned().unwrap_or_default();
            listed.into_iter().filter_map(|entry| Some(entry["name"].as_str()?.to_owned()))
        };
        let connection = broker::connect(&place.amqp_url).await?;
        let channel = broker::in_time(connection.create_channel()).await?;
        for queue in names("queues").chain([place.subscriber()]) {
            broker::in_time(channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default())).await?;
        }
        for exchange in names("exchanges") {
            let options = ExchangeDeleteOptions::default();
            broker::in_time(channel.exchange_delete(exchange.as_str().into(), options)).await?;
        }
        broker::in_time(connection.close(200, "done".into())).await
    }

    /// Runs a statement on the server.
    async fn postgres(&self, sql: &str) -> Result<()> {
        let work = async {
            let mut server = PgConnection::connect(self.postgres_url.as_str()).await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await?;
            server.close().await
        };
        in_time(work).await.context("PostgreSQL")
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Vec<Place>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a database no longer than its longest work here takes: vacuuming millions of rows.
pub(crate) async fn in_time<T>(work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    Ok(tokio::time::timeout(DEADLINE, work).await.context("the database gave no answer in time")??)
}

fn with_database(server: &Url, name: &str) -> String {
    let mut url = server.clone();
    url.set_path(name);
    url.into()
}
