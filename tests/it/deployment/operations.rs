//! What docs/OPERATIONS.md says about backups and about moving to another cluster.

use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use serde_json::{Value, json};
use testkit::lean_api::LeanApi;
use testkit::process::{Running, until_answers};
use testkit::services::Services;
use testkit::waiting::{until, within};
use testkit::{On, TestApp, fixtures};
use tokio::process::Command;
use uuid::Uuid;

use crate::network::post_some;

/// Worker and relay as a process, with those servers.
async fn process_webhooks(app: &TestApp, servers: &[(&str, &str)]) -> Running {
    let roles = app.command(&["run", "worker", "relay"]).on_free_ports();
    let running = servers.iter().fold(roles, |roles, (variable, url)| roles.env(variable, *url)).start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    running
}

/// Runs one of PostgreSQL's client programs, of the version of the private server.
async fn postgres_client(name: &str, arguments: &[&str]) {
    let script = format!("exec \"$(ls -d /usr/lib/postgresql/*/bin/{name} | sort -V | tail -n 1)\" \"$@\"");
    let mut command = Command::new("bash");
    let output = within(command.args(["-c", &script, "bash"]).args(arguments).output()).await.unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn count(url: &str, table: &str) -> i64 {
    let database = Database::connect(url).await.unwrap();
    let query = Statement::from_string(DbBackend::Postgres, format!("SELECT count(*) FROM {table}"));
    let count = database.query_one_raw(query).await.unwrap().unwrap().try_get("", "count").unwrap();
    database.close().await.unwrap();
    count
}

/// A webhook about a new link of now, as Lean also lists it.
fn created_now() -> Value {
    let mut webhook = fixtures::created(Uuid::new_v4());
    webhook["timestamp"] = json!(chrono::Utc::now().to_rfc3339());
    webhook["event_id"] = json!(Uuid::new_v4());
    webhook
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_gets_from_lean_what_it_lacks() {
    let services = Services::up("test-backup", &["postgres"]).await;
    let app = TestApp::builder(On::Postgres).postgres(&services.database_url).ingress_only().build().await;
    let mut original = process_webhooks(&app, &[]).await;
    let saved = [created_now(), created_now(), created_now()];
    for webhook in &saved {
        app.post(webhook).await.assert_accepted();
    }
    app.post_bytes(b"garbage").await.assert_accepted();
    app.until_links(3).await;
    app.until_dead(1).await;
    let dump = tempfile::NamedTempFile::new().unwrap();
    let dump = dump.path().to_str().unwrap();
    postgres_client("pg_dump", &["--format=custom", "--file", dump, &app.database_url()]).await;

    // Applied and acknowledged after the backup: RabbitMQ has forgotten them.
    let lost = [created_now(), created_now()];
    for webhook in &lost {
        app.post(webhook).await.assert_accepted();
    }
    app.until_links(5).await;
    assert_eq!(original.terminate().await, 0, "{}", original.log());

    let admin = Database::connect(&services.database_url).await.unwrap();
    admin.execute_unprepared("CREATE DATABASE restored").await.unwrap();
    let mut restored = url::Url::parse(&services.database_url).unwrap();
    restored.set_path("restored");
    let restored = restored.as_str();
    postgres_client("pg_restore", &["--no-owner", "--exit-on-error", "--dbname", restored, dump]).await;
    assert_eq!((count(restored, "bank_links").await, count(restored, "dead_letters").await), (3, 1));
    let mut roles = process_webhooks(&app, &[("DATABASE_URL", restored)]).await;
    let lean = LeanApi::start(saved.into_iter().chain(lost)).await;
    let reconciled = app.lean_command(&lean, &["reconcile"]).env("DATABASE_URL", restored).run().await;
    assert_eq!(reconciled.code, 0, "{reconciled:?}");
    until("the links that the backup lacks", async || count(restored, "bank_links").await == 5).await;
    until("an empty outbox", async || count(restored, "outbox_events").await == 0).await;
    assert_eq!(roles.terminate().await, 0, "{}", roles.log());
    admin.close().await.unwrap();
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_sqlite_database_is_complete_while_banklink_writes() {
    let app = TestApp::start(On::Sqlite).await;
    let entities = post_some(&app.url, 5).await;
    app.until_links(5).await;
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.db");
    app.sql(&format!("VACUUM INTO '{}'", copy.display()), "").await;
    let url = format!("sqlite://{}", copy.display());
    for entity in entities {
        let shown = app.command(&["links", "show", &entity.to_string()]).env("DATABASE_URL", &url).run().await;
        assert_eq!(shown.code, 0, "{shown:?}");
    }
    app.wait_until_processed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_move_to_another_rabbitmq_and_none_is_left_behind() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let services = Services::up("test-move", &["rabbitmq"]).await;
    let new = services.amqp_url.as_str();
    let mut entities = post_some(&app.url, 5).await;

    let applied = app.command(&["topology", "apply"]).env("AMQP_URL", new).run().await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let mut ingress = app.role("ingress").env("AMQP_URL", new).start();
    until_answers(&ingress.admin().await, "/readyz", 200).await;
    entities.extend(post_some(&ingress.url().await, 5).await);
    // The workers of both clusters share the database; the old ones stop once their queue is empty.
    let mut at_new = process_webhooks(&app, &[("AMQP_URL", new)]).await;
    let mut at_old = process_webhooks(&app, &[]).await;
    for entity in &entities {
        app.until_link(*entity).await;
    }
    app.until_outbox_is_empty().await;
    assert_eq!(entities.len(), 10);
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 0);
    for process in [&mut ingress, &mut at_new, &mut at_old] {
        assert_eq!(process.terminate().await, 0, "{}", process.log());
    }
    app.finish_with_leftovers().await;
}
