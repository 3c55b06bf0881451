//! PostgreSQL behind PgBouncer in transaction mode, where each transaction may run on another session of the server.

use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use testkit::process::until_answers;
use testkit::services::Services;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use crate::network::post_some;

#[tokio::test(flavor = "multi_thread")]
async fn every_role_and_command_works_behind_pgbouncer_in_transaction_mode() {
    let services = Services::up("test-pgbouncer", &["postgres", "pgbouncer"]).await;
    let app = TestApp::builder(On::Sqlite).ingress_only().schedule("100ms").build().await;
    let command = |arguments: &[&str]| app.command(arguments).env("DATABASE_URL", &services.pgbouncer_url);
    let run = async |arguments: &[&str]| {
        let output = command(arguments).run().await;
        assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
        output.stdout
    };
    run(&["migrate", "up"]).await;
    assert!(!run(&["migrate", "status"]).await.contains("pending"));
    let direct = Database::connect(&services.database_url).await.unwrap();
    let count = async |table: &str| {
        let query = Statement::from_string(DbBackend::Postgres, format!("SELECT count(*) FROM {table}"));
        direct.query_one_raw(query).await.unwrap().unwrap().try_get::<i64>("", "count").unwrap()
    };

    // Two processes share the sessions of the server.
    let mut processes = [0, 1].map(|_| app.all_roles().env("DATABASE_URL", &services.pgbouncer_url).start());
    for process in &processes {
        until_answers(&process.admin().await, "/readyz", 200).await;
    }
    let url = processes[0].url().await;
    let posted = post_some(&url, 200).await;
    until("every row", async || count("bank_links").await == i64::try_from(posted.len()).unwrap()).await;
    until("every event", async || count("outbox_events").await == 0).await;

    let entity = Uuid::new_v4();
    app.post(&fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
    app.post_bytes(b"garbage").await.assert_accepted();
    until("two letters", async || count("dead_letters").await == 2).await;
    app.post(&fixtures::created(entity)).await.assert_accepted();
    until("the link", async || count(&format!("bank_links WHERE entity_id = '{entity}'")).await == 1).await;
    run(&["check"]).await;
    run(&["dead-letters", "list"]).await;
    run(&["dead-letters", "stats"]).await;
    run(&["dead-letters", "replay", "--class", "unknown_entity", "--dry-run"]).await;
    run(&["dead-letters", "replay", "--class", "unknown_entity", "--yes"]).await;
    run(&["dead-letters", "export"]).await;
    run(&["dead-letters", "discard", "--state", "dead", "--reason", "a test", "--yes"]).await;
    run(&["dead-letters", "prune", "--resolved-older-than", "0s"]).await;
    for process in &mut processes {
        assert_eq!(process.terminate().await, 0, "{}", process.log());
        assert!(!process.log().contains("prepared statement"), "{}", process.log());
    }
    direct.close().await.unwrap();
    app.finish_with_leftovers().await;
}
