//! The sample subscribers in `examples/`, as processes, against what a subscriber has to cope with.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use rstest::rstest;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use testkit::process::{Invocation, Running, banklink};
use testkit::proxy::{Mode, Proxy};
use testkit::tool::find_tool;
use testkit::waiting::{eventually, until, within};
use testkit::{On, TestApp, amqp_url, fixtures, repository};
use uuid::Uuid;

/// Starts a sample with its settings; `None` if it cannot run here.
async fn sample(language: &str) -> Option<Invocation> {
    let example = |path: &str| repository().join("examples").join(path).display().to_string();
    match language {
        "rust" => Some(banklink(&[]).of(built_example().await)),
        "python" => Some(banklink(&[&example("python/subscriber.py")]).of(find_tool("pika").await?)),
        _ => {
            let (node, modules) = (find_tool("node").await?, find_tool("amqplib").await?);
            Some(banklink(&[&example("node/subscriber.js")]).of(node).env("NODE_PATH", modules.display().to_string()))
        }
    }
}

/// The sample in Rust, which `cargo test` builds unless only some of the tests were asked for.
async fn built_example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/subscriber");
    if !path.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut build = tokio::process::Command::new(cargo);
        build.args(["build", "--quiet", "--example", "subscriber"]).current_dir(repository()).stdin(Stdio::null());
        assert!(build.status().await.unwrap().success(), "the sample cannot be built");
    }
    path
}

/// A sample on an app's broker, with a queue and a database of its own.
struct Subscriber<'a> {
    app: &'a TestApp,
    language: &'static str,
    queue: String,
    file: PathBuf,
    url: String,
}

impl Subscriber<'_> {
    async fn start(&self) -> Option<Running> {
        let invocation = sample(self.language).await?;
        let running = invocation
            .env("AMQP_URL", &self.url)
            .env("BANKLINK_NAMESPACE", &self.app.namespace)
            .env("SUBSCRIBER_QUEUE", &self.queue)
            .env("SUBSCRIBER_DATABASE", self.file.display().to_string())
            .start();
        running.until_log("consuming").await;
        Some(running)
    }

    /// What it holds about an entity: how often it acted on events of each type, and the data without `version`.
    async fn holds(&self, entity: &str) -> (Value, Value) {
        let database = open(&self.file).await;
        let query = async |sql: &str| {
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [entity.into()]);
            database.query_all_raw(statement).await.unwrap()
        };
        let actions = query("SELECT event_type, times FROM actions WHERE entity_id = ?").await.into_iter().map(|row| {
            (row.try_get::<String>("", "event_type").unwrap(), json!(row.try_get::<i64>("", "times").unwrap()))
        });
        let actions = Value::Object(actions.collect());
        let data = query("SELECT data FROM links WHERE entity_id = ?").await.into_iter().next();
        let data = data.map(|row| serde_json::from_str(&row.try_get::<String>("", "data").unwrap()).unwrap());
        (actions, without_version(data.unwrap_or_default()))
    }

    async fn until_holds(&self, entity: &str, expected: &(Value, Value)) {
        until(&format!("{expected:?}"), async || self.holds(entity).await == *expected).await;
    }

    async fn delete_queues(&self) {
        let dead = format!("{}.dead", self.queue);
        for queue in [&self.queue, &dead] {
            self.app.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        }
        self.app.channel.exchange_delete(dead.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    }
}

async fn open(file: &Path) -> DatabaseConnection {
    Database::connect(format!("sqlite://{}?mode=ro", file.display())).await.unwrap()
}

/// JavaScript's numbers would round it.
fn without_version(mut data: Value) -> Value {
    data.as_object_mut().map(|data| data.remove("version"));
    data
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_handles_each_event_once_whatever_happens(#[values("rust", "python", "node")] language: &'static str) {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("links.db");
    let subscriber = Subscriber { app: &app, language, queue: app.queue("accounts"), file, url: amqp_url() };
    let (early, late) = (Uuid::new_v4(), Uuid::new_v4());

    // Events from before it was started come from the stream.
    app.post(&fixtures::created(early)).await.assert_accepted();
    app.until_link(early).await;
    app.until_outbox_is_empty().await;
    let Some(mut running) = subscriber.start().await else {
        eprintln!("skipped: the sample in {language} cannot run here");
        return;
    };
    let (actions, data) = subscriber.holds(&early.to_string()).await;
    assert_eq!((actions, &data["revision"]), (json!({ "customer.bank_linked": 1 }), &json!(1)));

    // Repeats, reordered revisions and late events lead to what the rehearsal prints.
    let rehearsed = app.command(&["events", "rehearse", "--queue", &subscriber.queue, "--count", "4"]).run().await;
    assert_eq!(rehearsed.code, 0, "{}", rehearsed.stderr);
    for line in rehearsed.stdout.lines() {
        let link: Value = serde_json::from_str(line).unwrap();
        let expected = (link["events"].clone(), without_version(link["data"].clone()));
        subscriber.until_holds(link["entity_id"].as_str().unwrap(), &expected).await;
    }
    until("every repeat is acknowledged", async || app.ready_messages(&subscriber.queue).await == 0).await;

    // An event that was delivered, and not handled when the process was killed, is handled by the next one.
    running.signal("STOP").await;
    app.post(&fixtures::created(late)).await.assert_accepted();
    app.until_link(late).await;
    app.until_outbox_is_empty().await;
    until("the event is delivered", async || app.ready_messages(&subscriber.queue).await == 0).await;
    running.kill().await;
    assert_eq!(subscriber.holds(&late.to_string()).await.0, json!({}));
    let mut running = subscriber.start().await.unwrap();
    eventually("the event", async || {
        let (actions, _) = subscriber.holds(&late.to_string()).await;
        (actions == json!({ "customer.bank_linked": 1 })).then_some(())
    })
    .await;

    // What is no event is kept, and blocks nothing.
    app.publish_to("", &subscriber.queue, b"not an event", Default::default()).await;
    assert_eq!(app.next_message("accounts.dead").await.data, b"not an event");
    within(running.kill()).await;
    subscriber.delete_queues().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_reads_the_whole_stream_however_late_it_is_delivered_and_whatever_is_on_it(
    #[values("rust", "python", "node")] language: &'static str,
) {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let early = Uuid::new_v4();
    // A stream refuses to take a message back: RabbitMQ would close the connection.
    app.publish_to(&app.topology.events(), "customer.other", b"not an event", Default::default()).await;
    app.post(&fixtures::created(early)).await.assert_accepted();
    app.until_link(early).await;
    app.until_outbox_is_empty().await;
    let proxy = Proxy::before(&amqp_url()).await;
    // The header of each message of a stream.
    proxy.set(Mode::DelayAt(b"x-stream-offset", Duration::from_millis(1500)));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("links.db");
    let subscriber = Subscriber { app: &app, language, queue: app.queue("accounts"), file, url: proxy.url.clone() };
    let Some(mut running) = subscriber.start().await else { return };
    assert_eq!(subscriber.holds(&early.to_string()).await.0, json!({ "customer.bank_linked": 1 }));
    within(running.kill()).await;
    subscriber.delete_queues().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_finds_that_the_stream_is_empty(#[values("rust", "python", "node")] language: &'static str) {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("links.db");
    let subscriber = Subscriber { app: &app, language, queue: app.queue("accounts"), file, url: amqp_url() };
    let Some(mut running) = subscriber.start().await else { return };
    let entity = Uuid::new_v4();
    app.post(&fixtures::created(entity)).await.assert_accepted();
    until("the event", async || subscriber.holds(&entity.to_string()).await.0 == json!({ "customer.bank_linked": 1 }))
        .await;
    within(running.kill()).await;
    subscriber.delete_queues().await;
}
