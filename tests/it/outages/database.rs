//! The database is unavailable, lacks a table, or is read-only, for longer than the retry schedule.

use std::time::Duration;

use rstest::rstest;
use sea_orm::{ConnectionTrait, Database};
use testkit::process::Running;
use testkit::proxy::{Mode, Proxy};
use testkit::services::Services;
use testkit::{On, TestApp, amqp_url, postgres_url};

use super::{app_for_role_processes, builder_for_role_processes, outlast_the_schedule, run, survive};

/// Waits until RabbitMQ's consumer timeout has taken the deliveries back, then sleeps for twice the timeout and the tick: a
/// consumer that came back meanwhile would time out again. The test needs an outage of this length.
async fn outlast_the_consumer_timeout(process: &Running) {
    process.until_log("unacknowledged deliveries return to the queue").await;
    tokio::time::sleep(Duration::from_secs(8)).await;
}

async fn survive_an_unavailable_database(app: TestApp, broker: &str, last: impl AsyncFnOnce(&Running)) {
    let database = Proxy::before(&app.database_url()).await;
    let process = run(&app, broker, &database.url);
    let (begin, end) = (async || database.set(Mode::Closed), async || database.set(Mode::Forward));
    survive(&app, process, &["worker", "relay"], begin, last, end).await;
    app.finish().await;
}

async fn survive_a_missing_table(on: On, table: &str, broker: &str, last: impl AsyncFnOnce(&Running)) {
    let app = app_for_role_processes(on).await;
    let process = run(&app, broker, &app.database_url());
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        app.sql(&sql, &sql).await;
    };
    let (begin, end) = (async || rename(table, "gone").await, async || rename("gone", table).await);
    let unready: &[&str] = if table == "outbox_events" { &["worker", "relay"] } else { &["worker"] };
    survive(&app, process, unready, begin, last, end).await;
    app.finish().await;
}

/// As after a failover: new connections reach a read-only server.
async fn survive_a_read_only_replica(broker: &str, last: impl AsyncFnOnce(&Running)) {
    let app = app_for_role_processes(On::Postgres).await;
    let process = run(&app, broker, &app.database_url());
    let server = Database::connect(postgres_url()).await.unwrap();
    let name = &app.namespace;
    let begin = async || {
        let read_only = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on");
        server.execute_unprepared(&read_only).await.unwrap();
        let terminate = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        server.execute_unprepared(&terminate).await.unwrap();
    };
    let end = async || {
        let reset = format!("ALTER DATABASE \"{name}\" RESET default_transaction_read_only");
        server.execute_unprepared(&reset).await.unwrap();
    };
    survive(&app, process, &["worker", "relay"], begin, last, end).await;
    app.finish().await;
}

#[rstest]
#[case::plain("test-unavailable", "disable")]
#[case::tls("test-unavailable-tls", "require")]
#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_database_costs_no_attempt_and_at_most_one_delivery_count(
    #[case] name: &str,
    #[case] sslmode: &str,
) {
    let services = Services::up_with_tls(name, &["postgres"]).await;
    let server = format!("{}?sslmode={sslmode}", services.database_url);
    let app = builder_for_role_processes(On::Postgres).postgres(server).build().await;
    survive_an_unavailable_database(app, &amqp_url(), outlast_the_schedule).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_outbox_table_costs_no_attempt(#[case] on: On) {
    survive_a_missing_table(on, "outbox_events", &amqp_url(), outlast_the_schedule).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_replica_costs_no_attempt_and_is_left_for_a_writable_server() {
    survive_a_read_only_replica(&amqp_url(), outlast_the_schedule).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_rabbitmqs_consumer_timeout_costs_at_most_one_delivery_count() {
    let services = Services::up("test-timeout", &["rabbitmq"]).await;
    // RabbitMQ checks the consumer timeout at every tick, and reads both settings when a channel is opened.
    for (key, value) in [("consumer_timeout", 3_000), ("channel_tick_interval", 1_000)] {
        services.ctl(&["eval", &format!("application:set_env(rabbit, {key}, {value}).")]).await;
    }
    let (broker, last) = (&services.amqp_url, outlast_the_consumer_timeout);
    tokio::join!(
        survive_an_unavailable_database(app_for_role_processes(On::Postgres).await, broker, last),
        survive_a_missing_table(On::Postgres, "outbox_events", broker, last),
        survive_a_missing_table(On::Postgres, "bank_links", broker, last),
        survive_a_missing_table(On::Sqlite, "bank_links", broker, last),
        survive_a_read_only_replica(broker, last),
    );
}
