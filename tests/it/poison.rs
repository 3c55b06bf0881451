//! Poison is not outage: what the world does to a message costs it nothing, and what a message does costs no other.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use sea_orm::{ConnectionTrait, Database, DatabaseTransaction, TransactionTrait};
use serde_json::json;
use uuid::Uuid;

use crate::app::{On, Recipe, SECRET, TestApp, amqp_url, postgres_url};
use crate::fixtures;
use crate::outages::post;
use crate::process::{Running, banklink, metric, until_answers};
use crate::proxy::{Mode, Proxy};
use crate::services::Services;
use crate::waiting::eventually;

/// Longer than the whole schedule, so that a message that spent attempts on an outage would be dead of it.
const SCHEDULE: &str = "500ms,500ms";
const LONGER_THAN_THE_SCHEDULE: Duration = Duration::from_secs(3);

/// Every role in one process. At a delivery limit of one, whoever spends a second count is dead.
fn run(app: &TestApp, amqp_url: &str, database_url: &str) -> Running {
    banklink(&["run", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("AMQP_URL", amqp_url)
        .env("DATABASE_URL", database_url)
        .env("BANKLINK_NAMESPACE", &app.namespace)
        .env("BANKLINK_RETRY_SCHEDULE", SCHEDULE)
        .env("BANKLINK_DELIVERY_LIMIT", "1")
        .env("LEAN_WEBHOOK_SECRETS", SECRET)
        .start()
}

/// A namespace and a database, and nobody at work on them.
async fn nobody_at_work(on: On) -> TestApp {
    Recipe { workers: 0, relays: 0, delivery_limit: 1, schedule: SCHEDULE, ..Recipe::on(on) }.start().await
}

/// Takes the database away, lets that last, brings it back: every message goes through, and none has spent anything. Which
/// roles can do nothing meanwhile is seen.
async fn survive(
    app: &TestApp,
    mut process: Running,
    idle: &[&str],
    take_away: impl AsyncFnOnce(),
    last: impl AsyncFnOnce(&Running),
    bring_back: impl AsyncFnOnce(),
) {
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    let send = async |webhooks: usize| {
        for _ in 0..webhooks {
            post(&url, &fixtures::created(Uuid::new_v4())).await.assert_accepted();
        }
    };
    // So that the full prefetch is in hand when it happens.
    send(20).await;
    eventually("the first rows", async || (app.bank_links().await.len() == 20).then_some(())).await;
    take_away().await;
    send(30).await;
    eventually("a pause", async || (metric(&admin, "banklink_worker_paused").await == Some(1.0)).then_some(())).await;
    for role in idle {
        until_answers(&admin, &format!("/readyz/{role}"), 503).await;
    }
    last(&process).await;
    send(10).await;
    bring_back().await;
    until_answers(&admin, "/readyz", 200).await;
    eventually("every row", async || (app.bank_links().await.len() == 60).then_some(())).await;
    assert_that_nothing_was_spent(&admin).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    assert!(app.dead_letters().await.is_empty(), "{:?}", app.dead_letters().await);
    let customer = fixtures::created(Uuid::nil())["payload"]["customer_id"].to_string();
    assert!(!process.log().contains(customer.trim_matches('"')), "{}: no value in it", process.log());
}

async fn assert_that_nothing_was_spent(admin: &str) {
    for outcome in ["retried", "dead"] {
        let name = format!("banklink_worker_deliveries_total{{outcome=\"{outcome}\"}}");
        assert_eq!(metric(admin, &name).await, Some(0.0), "{name}");
    }
}

/// The fault is its length.
async fn outlast_the_schedule(_: &Running) {
    tokio::time::sleep(LONGER_THAN_THE_SCHEDULE).await;
}

/// Until RabbitMQ has taken back what was in hand, and twice as long again as it takes to lose patience with whoever would
/// consume meanwhile.
async fn outlast_the_consumer_timeout(process: &Running) {
    process.until_log("unacknowledged deliveries return to the queue").await;
    tokio::time::sleep(Duration::from_secs(8)).await;
}

async fn survive_a_database_that_is_away(broker: &str, last: impl AsyncFnOnce(&Running)) {
    let app = nobody_at_work(On::Postgres).await;
    let database = Proxy::before(&app.database_url()).await;
    let process = run(&app, broker, &database.url);
    let (take_away, bring_back) = (async || database.set(Mode::Closed), async || database.set(Mode::Forward));
    survive(&app, process, &["worker", "relay"], take_away, last, bring_back).await;
    app.finish().await;
}

async fn survive_a_missing_table(on: On, table: &str, broker: &str, last: impl AsyncFnOnce(&Running)) {
    let app = nobody_at_work(on).await;
    let process = run(&app, broker, &app.database_url());
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        app.sql(&sql, &sql).await;
    };
    let (take_away, bring_back) = (async || rename(table, "gone").await, async || rename("gone", table).await);
    let idle: &[&str] = if table == "outbox_events" { &["worker", "relay"] } else { &["worker"] };
    survive(&app, process, idle, take_away, last, bring_back).await;
    app.finish().await;
}

/// As after a failover: who reconnects meets a server that only reads.
async fn survive_a_replica_that_only_reads(broker: &str, last: impl AsyncFnOnce(&Running)) {
    let app = nobody_at_work(On::Postgres).await;
    let process = run(&app, broker, &app.database_url());
    let server = Database::connect(postgres_url()).await.unwrap();
    let name = &app.namespace;
    let take_away = async || {
        let only_read = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on");
        server.execute_unprepared(&only_read).await.unwrap();
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        server.execute_unprepared(&cut).await.unwrap();
    };
    let bring_back = async || {
        let write = format!("ALTER DATABASE \"{name}\" RESET default_transaction_read_only");
        server.execute_unprepared(&write).await.unwrap();
    };
    survive(&app, process, &["worker", "relay"], take_away, last, bring_back).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_whole_schedule_costs_no_attempt_and_one_delivery_count_at_most() {
    survive_a_database_that_is_away(&amqp_url(), outlast_the_schedule).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_missing_costs_no_attempt() {
    for on in [On::Sqlite, On::Postgres] {
        survive_a_missing_table(on, "outbox_events", &amqp_url(), outlast_the_schedule).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_only_reads_costs_no_attempt_and_is_left_when_another_server_writes() {
    survive_a_replica_that_only_reads(&amqp_url(), outlast_the_schedule).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlasts_rabbitmqs_consumer_timeout_costs_one_delivery_count_at_most() {
    let services = Services::up("test-timeout", &["rabbitmq"]).await;
    // RabbitMQ looks for consumers that take too long at every tick; both are read when a channel is opened.
    for (key, value) in [("consumer_timeout", 3_000), ("channel_tick_interval", 1_000)] {
        services.ctl(&["eval", &format!("application:set_env(rabbit, {key}, {value}).")]).await;
    }
    let (broker, last) = (&services.amqp_url, outlast_the_consumer_timeout);
    tokio::join!(
        survive_a_database_that_is_away(broker, last),
        survive_a_missing_table(On::Postgres, "outbox_events", broker, last),
        survive_a_missing_table(On::Postgres, "bank_links", broker, last),
        survive_a_missing_table(On::Sqlite, "bank_links", broker, last),
        survive_a_replica_that_only_reads(broker, last),
    );
}

/// Twenty bank links that are known, and nobody at work on them any more but one worker.
async fn twenty_links() -> (TestApp, Vec<Uuid>) {
    let app = nobody_at_work(On::Postgres).await;
    app.overhear("copies", &app.topology.retry(), "500ms").await;
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        publish(&app, &fixtures::created(*entity)).await;
    }
    app.start_worker();
    eventually("every row", async || (app.bank_links().await.len() == 20).then_some(())).await;
    (app, entities)
}

async fn publish(app: &TestApp, webhook: &serde_json::Value) {
    app.publish_by_hand(webhook.to_string().as_bytes(), BasicProperties::default()).await;
}

/// A rival of the workers who has done that, and does not come to an end: a forgotten session, say.
async fn rival(app: &TestApp, sql: &str) -> DatabaseTransaction {
    let rival = Database::connect(app.database_url()).await.unwrap().begin().await.unwrap();
    rival.execute_unprepared(sql).await.unwrap();
    rival
}

/// Copies of webhooks about `held` go to a retry tier, more often than the schedule or the delivery limit would let a failure,
/// at the first attempt each time, and of no other's.
async fn is_put_aside(app: &TestApp, held: Uuid) {
    for _ in 0..4 {
        let copy = app.next_message("copies").await;
        let headers = copy.properties.headers().clone().unwrap_or_default();
        assert_eq!(headers.inner().get("x-attempt").and_then(AMQPValue::as_long_long_int), Some(1));
        let webhook: serde_json::Value = serde_json::from_slice(&copy.data).unwrap();
        assert_eq!(webhook["payload"]["id"], json!(held), "and no other");
    }
}

async fn finish(app: TestApp) {
    assert!(app.dead_letters().await.is_empty());
    finish_with_letters(app).await;
}

async fn finish_with_letters(app: TestApp) {
    let copies = app.queue("copies");
    app.channel.queue_delete(copies.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_keeps_locked_costs_nothing_and_holds_up_no_other() {
    let (app, entities) = twenty_links().await;
    let (held, others) = entities.split_first().unwrap();
    let rival = rival(&app, &format!("SELECT 1 FROM bank_links WHERE entity_id = '{held}' FOR UPDATE")).await;
    for entity in &entities {
        publish(&app, &fixtures::reconnected(*entity, "2026-06-01T00:00:00Z")).await;
    }
    let reconnected = async |entity: &Uuid| app.bank_link(*entity).await.unwrap().reconnected_at.is_some();
    for entity in others {
        eventually("the others", async || reconnected(entity).await.then_some(())).await;
    }
    is_put_aside(&app, *held).await;
    assert!(!reconnected(held).await);
    rival.rollback().await.unwrap();
    eventually("the one", async || reconnected(held).await.then_some(())).await;
    finish(app).await;
}

/// Nobody else can see such a row.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_is_inserting_costs_nothing_and_holds_up_no_other() {
    let (app, entities) = twenty_links().await;
    let held = Uuid::new_v4();
    let insert = format!(
        "INSERT INTO bank_links SELECT (jsonb_populate_record(b, '{{\"entity_id\": \"{held}\"}}')).* FROM bank_links b LIMIT 1"
    );
    let rival = rival(&app, &insert).await;
    publish(&app, &fixtures::created(held)).await;
    for entity in &entities {
        publish(&app, &fixtures::reconnected(*entity, "2026-06-01T00:00:00Z")).await;
    }
    for entity in &entities {
        let reconnected = async || app.bank_link(*entity).await?.reconnected_at;
        eventually("the others", reconnected).await;
    }
    is_put_aside(&app, held).await;
    assert!(app.bank_link(held).await.is_none());
    rival.rollback().await.unwrap();
    eventually("the one", async || app.bank_link(held).await).await;
    finish(app).await;
}

/// A letter of a type that is ignored by now; somebody has it open while its replay comes in.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_somebody_keeps_locked_holds_up_no_webhook() {
    let app = nobody_at_work(On::Postgres).await;
    app.overhear("copies", &app.topology.retry(), "500ms").await;
    let id = Uuid::now_v7();
    let named = |replay: i64| {
        let mut headers = FieldTable::default();
        headers.insert("x-replay".into(), AMQPValue::LongLongInt(replay));
        BasicProperties::default().with_message_id(id.to_string().as_str().into()).with_headers(headers)
    };
    let dead = app.topology.dead();
    let (body, options) = (br#"{"type":"results.ready"}"#, BasicPublishOptions::default());
    app.channel.basic_publish(dead.as_str().into(), "".into(), options, body, named(0)).await.unwrap();
    app.start_worker();
    app.until_dead(1).await;
    app.sql("", "UPDATE dead_letters SET state = 'replaying', replays = 1").await;
    let rival = rival(&app, "SELECT 1 FROM dead_letters FOR UPDATE").await;
    let entity = Uuid::new_v4();
    app.publish_by_hand(body, named(1)).await;
    publish(&app, &fixtures::created(entity)).await;
    eventually("the webhook behind it", async || app.bank_link(entity).await).await;
    let copy = app.next_message("copies").await;
    assert_eq!(copy.data, body, "put aside, and nothing else");
    rival.rollback().await.unwrap();
    let resolved = async || (app.dead_letters().await[0].state == "resolved").then_some(());
    eventually("the end of the letter", resolved).await;
    finish_with_letters(app).await;
}

/// A rule of PostgreSQL's own that says no with that SQLSTATE, and says more than a log may, when `condition` holds. What comes
/// after a row is looked at when the transaction is committed.
fn says_no(sqlstate: &str, when: &str, condition: &str) -> String {
    let (kind, deferred) =
        if when.starts_with("AFTER") { ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") } else { ("", "") };
    format!(
        "CREATE FUNCTION say_no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN \
         RAISE EXCEPTION 'not %', NEW.customer_id USING ERRCODE = '{sqlstate}'; END IF; RETURN NEW; END $$; \
         CREATE {kind} TRIGGER say_no {when} ON bank_links {deferred} FOR EACH ROW EXECUTE FUNCTION say_no()"
    )
}

/// What nobody can foresee: `RAISE` without a code, a statement that was cancelled, a fault inside of the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_refuses_every_row_is_an_outage() {
    let each_row = "BEFORE INSERT";
    let at_commit = "AFTER INSERT";
    for (sqlstate, when) in [("P0001", each_row), ("57014", each_row), ("XX000", each_row), ("P0001", at_commit)] {
        let app = nobody_at_work(On::Postgres).await;
        let process = run(&app, &amqp_url(), &app.database_url());
        let rule = says_no(sqlstate, when, "true");
        let take_away = async || app.sql("", &rule).await;
        let bring_back = async || app.sql("", "DROP FUNCTION say_no CASCADE").await;
        survive(&app, process, &["worker"], take_away, outlast_the_schedule, bring_back).await;
        app.finish().await;
    }
}

/// As somebody sets one up who wants what is there left alone for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_refuses_every_update_is_an_outage() {
    let app = nobody_at_work(On::Postgres).await;
    let mut process = run(&app, &amqp_url(), &app.database_url());
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        post(&url, &fixtures::created(*entity)).await.assert_accepted();
    }
    eventually("the first rows", async || (app.bank_links().await.len() == 20).then_some(())).await;
    app.sql("", &says_no("P0001", "BEFORE UPDATE", "true")).await;
    for entity in &entities {
        post(&url, &fixtures::reconnected(*entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
    }
    eventually("a pause", async || (metric(&admin, "banklink_worker_paused").await == Some(1.0)).then_some(())).await;
    outlast_the_schedule(&process).await;
    app.sql("", "DROP FUNCTION say_no CASCADE").await;
    for entity in &entities {
        eventually("every row", async || app.bank_link(*entity).await?.reconnected_at).await;
    }
    assert_that_nothing_was_spent(&admin).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish().await;
}

/// The probe's own row may break it.
#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_of_somebodys_own_is_no_outage() {
    let app = nobody_at_work(On::Postgres).await;
    app.sql("", "ALTER TABLE bank_links ADD CHECK (bank_identifier IS NOT NULL)").await;
    let mut process = run(&app, &amqp_url(), &app.database_url());
    until_answers(&process.admin().await, "/readyz", 200).await;
    let entity = Uuid::new_v4();
    post(&process.url().await, &fixtures::created(entity)).await.assert_accepted();
    eventually("the row", async || app.bank_link(entity).await).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_written_while_others_can_costs_nothing_and_holds_up_no_other() {
    for sqlstate in ["57014", "XX000"] {
        let (app, entities) = twenty_links().await;
        let held = Uuid::new_v4();
        app.sql("", &says_no(sqlstate, "BEFORE INSERT", &format!("NEW.entity_id = '{held}'"))).await;
        publish(&app, &fixtures::created(held)).await;
        for entity in &entities {
            publish(&app, &fixtures::reconnected(*entity, "2026-06-01T00:00:00Z")).await;
        }
        for entity in &entities {
            eventually("the others", async || app.bank_link(*entity).await?.reconnected_at).await;
        }
        is_put_aside(&app, held).await;
        assert!(app.bank_link(held).await.is_none());
        app.sql("", "DROP FUNCTION say_no CASCADE").await;
        eventually("the one", async || app.bank_link(held).await).await;
        finish(app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_that_the_database_refuses_dies_alone_and_the_rest_of_its_batch_goes_through_at_once() {
    let trigger_on_sqlite = "CREATE TRIGGER picky BEFORE INSERT ON bank_links WHEN NEW.customer_id = 'refused' BEGIN SELECT RAISE(ABORT, 'x'); END";
    let constraint = "ALTER TABLE bank_links ADD CONSTRAINT picky CHECK (customer_id <> 'refused')";
    let trigger = says_no("P0001", "BEFORE INSERT", "NEW.customer_id = 'refused'");
    for (on, rule) in [(On::Sqlite, trigger_on_sqlite), (On::Postgres, constraint), (On::Postgres, &trigger)] {
        let app = Recipe { workers: 0, relays: 0, schedule: "2s,2s", ..Recipe::on(on) }.start().await;
        app.sql(rule, rule).await;
        app.overhear("copies", &app.topology.retry(), "2s").await;
        // The first goes alone, as a careful worker begins; the others are one batch.
        let entities: Vec<Uuid> = (0..257).map(|_| Uuid::new_v4()).collect();
        for (place, entity) in entities.iter().enumerate() {
            let mut webhook = fixtures::created(*entity);
            if place == 150 {
                webhook["payload"]["customer_id"] = json!("refused");
            }
            app.publish_by_hand(webhook.to_string().as_bytes(), BasicProperties::default()).await;
        }
        app.start_worker();
        eventually("255 of the batch", async || (app.bank_links().await.len() == 256).then_some(())).await;
        assert!(app.dead_letters().await.is_empty(), "the one is not dead yet");
        let tier = format!("{}.2s", app.topology.retry());
        eventually("it waits for its retry", async || (app.ready(&tier).await == 1).then_some(())).await;

        let letters = app.until_dead(1).await;
        assert_eq!(
            (letters.len(), letters[0].failure_class.as_str(), letters[0].attempts),
            (1, "rejected_by_database", 3)
        );
        assert_eq!(letters[0].entity_id, Some(entities[150]));
        assert!(!letters[0].failure.contains("refused"), "{}: no value in it", letters[0].failure);
        assert_eq!(app.bank_links().await.len(), 256);
        let copies = app.queue("copies");
        assert_eq!(app.ready(&copies).await, 2, "nobody else was tried again");
        for _ in 0..2 {
            let copy: serde_json::Value = serde_json::from_slice(&app.next_message("copies").await.data).unwrap();
            assert_eq!(copy["payload"]["id"], json!(entities[150]));
        }
        app.channel.queue_delete(copies.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        app.finish().await;
    }
}
