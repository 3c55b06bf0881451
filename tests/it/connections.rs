//! Connections that fail the way networks do: each is told of, given up in time, and made anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use banklink::broker::{
    self, Address, Connection, Consumer, EventSubscription, Inspection, Outgoing, Publisher, Purpose,
};
use banklink::store::dead_letters::{self, Filter, Prune};
use banklink::store::{self, IfMissing, Store, bank_links, outbox};
use futures_util::future::join_all;
use lapin::BasicProperties;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::app::{On, Recipe, TestApp, amqp_url};
use crate::fixtures;
use crate::outages::post;
use crate::process::{Outcome, Running, banklink, metric, until_answers};
use crate::proxy::{Mode, Proxy};
use crate::services::Services;
use crate::waiting::{eventually, http_client, within};

/// Connections to PostgreSQL, at most.
const PLACES: usize = 8;

/// A namespace and a database, and nobody at work on them.
async fn nobody_at_work(on: On) -> TestApp {
    Recipe { workers: 0, relays: 0, ..Recipe::on(on) }.start().await
}

/// Every role in one process, over those two URLs.
fn run(app: &TestApp, amqp_url: &str, database_url: &str) -> Running {
    banklink(&["run", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("AMQP_URL", amqp_url)
        .env("DATABASE_URL", database_url)
        .env("BANKLINK_NAMESPACE", &app.namespace)
        .env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms")
        .env("BANKLINK_INGRESS_DEADLINE", "1s")
        .env("LEAN_WEBHOOK_SECRETS", crate::app::SECRET)
        .env("RUST_LOG", "info,banklink::broker=debug")
        .start()
}

/// A relay by itself.
fn relay(app: &TestApp, amqp_url: &str) -> Running {
    banklink(&["run", "relay", "--admin-listen", "127.0.0.1:0"])
        .env("AMQP_URL", amqp_url)
        .env("DATABASE_URL", app.database_url())
        .env("BANKLINK_NAMESPACE", &app.namespace)
        .env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms")
        .start()
}

/// Posts webhooks about new entities; those that were accepted.
async fn post_some(url: &str, webhooks: usize) -> Vec<Uuid> {
    let mut accepted = Vec::new();
    for _ in 0..webhooks {
        let entity = Uuid::new_v4();
        if post(url, &fixtures::created(entity)).await.status == 200 {
            accepted.push(entity);
        }
    }
    accepted
}

async fn until_rows(app: &TestApp, entities: &[Uuid]) {
    let all_there = async || {
        let rows: BTreeSet<Uuid> = app.bank_links().await.iter().map(|row| row.entity_id).collect();
        entities.iter().all(|entity| rows.contains(entity)).then_some(())
    };
    eventually("a row for every accepted webhook", all_there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_says_nothing_is_told_of_and_waited_for_and_leaves_nothing_behind() {
    let app = nobody_at_work(On::Sqlite).await;
    let broker = Proxy::before(&amqp_url()).await;
    broker.set(Mode::Silent);
    let mut process = run(&app, &broker.url, &app.database_url());
    let (admin, url) = (process.admin().await, process.url().await);
    post(&url, &fixtures::seed()).await.assert_refused(503);
    until_answers(&admin, "/readyz/ingress", 503).await;
    process.until_log("RabbitMQ did not answer in time").await;
    process.until_log("still no connection to RabbitMQ").await;
    // One attempt at a time for each of the three connections, however many there have been.
    let threads = async || (process.threads("lapin-io-loop") <= 3).then_some(());
    eventually("the threads of earlier attempts gone", threads).await;

    broker.set(Mode::Forward);
    until_answers(&admin, "/readyz", 200).await;
    until_rows(&app, &post_some(&url, 1).await).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_closes_in_the_middle_of_the_handshake_is_told_of_and_taken_when_it_is_well() {
    let app = nobody_at_work(On::Sqlite).await;
    join_all([Mode::Closed, Mode::ClosedAfter(0), Mode::ClosedAfter(1), Mode::ClosedAfter(2), Mode::Torn].map(
        async |mode| {
            let broker = Proxy::before(&amqp_url()).await;
            broker.set(mode);
            let mut process = run(&app, &broker.url, &app.database_url());
            process.until_log("no connection to RabbitMQ; trying again until there is one").await;
            assert!(process.log().contains(r#""cause":"RabbitMQ: "#), "{mode:?}: {}", process.log());
            broker.set(Mode::Forward);
            until_answers(&process.admin().await, "/readyz", 200).await;
            assert_eq!(process.terminate().await, 0, "{mode:?}: {}", process.log());
        },
    ))
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_us_says_why_each_time_that_changes_and_is_taken_when_it_lets_us_in() {
    let services = Services::up("test-refusals", &["rabbitmq"]).await;
    let app = nobody_at_work(On::Sqlite).await;
    let url = services.amqp_url.replace("guest:guest", "late:secret").replace("%2f", "elsewhere");
    let mut process = run(&app, &url, &app.database_url());
    let warned = async |of: &str| {
        let told =
            |line: &str| line.contains("WARN") && line.contains("no connection to RabbitMQ;") && line.contains(of);
        eventually(of, async || process.log().lines().any(told).then_some(())).await;
    };
    warned("ACCESS_REFUSED").await;
    services.ctl(&["add_user", "late", "secret"]).await;
    warned("elsewhere").await;
    assert!(!process.log().contains("secret"), "{}", process.log());
    services.ctl(&["add_vhost", "elsewhere"]).await;
    services.ctl(&["set_permissions", "-p", "elsewhere", "late", ".*", ".*", ".*"]).await;
    until_answers(&process.admin().await, "/readyz", 200).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_broker_is_noticed_and_left_for_one_that_answers() {
    let app = nobody_at_work(On::Postgres).await;
    let broker = Proxy::before(&amqp_url()).await;
    let mut process = run(&app, &format!("{}?heartbeat=2", broker.url), &app.database_url());
    let mut patient = relay(&app, &format!("{}?heartbeat=60", broker.url));
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    until_answers(&patient.admin().await, "/readyz", 200).await;
    let mut accepted = post_some(&url, 50).await;
    broker.set(Mode::Silent);
    // Within the ingress's own deadline, long before anybody knows that the connection is half open.
    post(&url, &fixtures::seed()).await.assert_refused(503);
    until_answers(&admin, "/readyz/ingress", 503).await;
    for connection in ["publish", "consume", "record"] {
        let lost = format!(r#""message":"lost the connection to RabbitMQ","connection":"{connection}""#);
        process.until_log(&lost).await;
    }
    // By the heartbeat, and by nothing that comes later: one that is agreed to be rarer is still waited for.
    assert!(!patient.log().contains("lost the connection"), "{}", patient.log());
    patient.kill().await;
    for role in ["ingress", "worker", "relay"] {
        until_answers(&admin, &format!("/readyz/{role}"), 503).await;
    }
    broker.set(Mode::Forward);
    until_answers(&admin, "/readyz", 200).await;
    accepted.extend(post_some(&url, 10).await);
    assert!(accepted.len() >= 60, "{}", accepted.len());
    until_rows(&app, &accepted).await;
    for _ in &accepted {
        app.next_event().await;
    }
    assert!(app.dead_letters().await.is_empty());
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gave_up_while_rabbitmq_was_stuck_does_not_stand_in_the_way_afterwards() {
    let app = nobody_at_work(On::Sqlite).await;
    let broker = Proxy::before(&amqp_url()).await;
    let mut process = run(&app, &broker.url, &app.database_url());
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    broker.set(Mode::FieldValue);
    // The first ones on a channel, which is thrown away for them; the others while there is none.
    for _ in 0..2 {
        for refused in join_all((0..50).map(async |_| post(&url, &fixtures::seed()).await)).await {
            refused.assert_refused(503);
        }
    }
    broker.set(Mode::Forward);
    eventually("accepted again", async || (post(&url, &fixtures::seed()).await.status == 200).then_some(())).await;
    let thrown_away = process.log().matches("the publishing channel is thrown away").count();
    assert!((1..=3).contains(&thrown_away), "{thrown_away}: {}", process.log());
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_slow_or_reset_in_the_middle_of_a_frame_lose_nothing() {
    let app = nobody_at_work(On::Postgres).await;
    let (broker, database) = (Proxy::before(&amqp_url()).await, Proxy::before(&app.database_url()).await);
    let mut process = run(&app, &broker.url, &database.url);
    let (admin, url) = (process.admin().await, process.url().await);
    let mut accepted = Vec::new();
    let late = Mode::Delay(Duration::from_millis(50));
    for (proxy, harm) in [(&broker, Mode::Torn), (&database, late), (&broker, late), (&database, Mode::Torn)] {
        until_answers(&admin, "/readyz", 200).await;
        accepted.extend(post_some(&url, 20).await);
        proxy.set(harm);
        accepted.extend(post_some(&url, 20).await);
        proxy.set(Mode::Forward);
    }
    assert!(accepted.len() >= 80, "{}", accepted.len());
    until_rows(&app, &accepted).await;
    until_answers(&admin, "/readyz", 200).await;
    assert!(app.dead_letters().await.is_empty());
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_database_pauses_the_worker_and_costs_no_place_in_the_pool() {
    let app = nobody_at_work(On::Postgres).await;
    let database = Proxy::before(&app.database_url()).await;
    let mut process = run(&app, &amqp_url(), &database.url);
    let (admin, url) = (process.admin().await, process.url().await);
    // The second time new connections are made, and then fall silent, in the middle of a batch's first statement or before:
    // those that are waited for would use up the pool.
    for (silence, places) in [(Mode::Silent, 0), (Mode::SilentAfter(6), PLACES)] {
        until_answers(&admin, "/readyz", 200).await;
        let rows = post_some(&url, 20).await;
        until_rows(&app, &rows).await;
        let connections = database.accepted();
        database.set(silence);
        until_answers(&admin, "/readyz/worker", 503).await;
        until_answers(&admin, "/readyz/ingress", 200).await;
        let waiting = post_some(&url, 5).await;
        assert_eq!(waiting.len(), 5, "the ingress needs no database");
        eventually("a pause", async || (metric(&admin, "banklink_worker_paused").await == Some(1.0)).then_some(()))
            .await;
        let anew = async || {
            let _ = http_client().get(format!("http://{admin}/readyz")).send().await;
            (database.accepted() > connections + places).then_some(())
        };
        eventually("as many new connections, and one more", anew).await;
        database.set(Mode::Forward);
        until_rows(&app, &waiting).await;
    }
    for outcome in ["retried", "dead"] {
        let name = format!("banklink_worker_deliveries_total{{outcome=\"{outcome}\"}}");
        assert_eq!(metric(&admin, &name).await, Some(0.0), "{name}");
    }
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    app.finish().await;
}

/// Everything that is asked of RabbitMQ, one after the other.
async fn ask_the_broker(address: &Address, app: &TestApp) -> Result<(), broker::Error> {
    let topology = Arc::clone(&app.topology);
    Inspection::begin(address).await?.compare(&topology).await?;
    let link = Connection::once(address, Arc::clone(&topology), Purpose::Consume).await?;
    let _tail = EventSubscription::open(&link).await?;
    let tasks = TaskTracker::new();
    let publisher = Publisher::start(link.clone(), &tasks);
    let message = broker::Message::received("{}".into(), banklink::domain::timestamp::Timestamp::now(), None);
    publisher.publish(Outgoing::webhook(&topology, &message), broker::DEADLINE).await?;
    drop(publisher);
    tasks.close();
    tasks.wait().await;
    let mut consumer = Consumer::open(&link, &topology.webhooks(), 5).await?;
    // Waiting for work has no end; that there is nobody any more to send it is for the heartbeat to notice.
    let batch =
        tokio::time::timeout(broker::DEADLINE, consumer.next_batch(1)).await.map_err(|_| broker::Error::TimedOut)??;
    consumer.ack(&batch).await?;
    consumer.last_batch(1).await?;
    consumer.close().await;
    Ok(())
}

/// However far the conversation has come when RabbitMQ falls silent, whoever waits for its next word gives up.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_asked_of_rabbitmq_is_waited_for_without_end() {
    let app = nobody_at_work(On::Sqlite).await;
    for _ in 0..200 {
        app.publish_by_hand(b"{}", BasicProperties::default()).await;
    }
    let ended = join_all((0..=120).step_by(3).map(async |answers| {
        let broker = Proxy::before(&amqp_url()).await;
        broker.set(Mode::SilentAfter(answers));
        // Without a heartbeat to speak of: it would end what has no deadline of its own.
        let address = Address::parse(&format!("{}?heartbeat=600", broker.url)).unwrap();
        let ended = within(ask_the_broker(&address, &app)).await;
        assert!(matches!(ended, Ok(()) | Err(broker::Error::TimedOut)), "after {answers} answers: {ended:?}");
        ended.is_ok()
    }));
    let ended = ended.await;
    assert!(!ended[0] && ended[ended.len() - 1], "from no answer to all of them: {ended:?}");
    assert!(ended.iter().filter(|ok| !**ok).count() >= 20, "most of them in the middle: {ended:?}");
    app.finish().await;
}

/// Everything that is asked of the database, one after the other.
async fn ask_the_database(url: &str) -> Result<(), store::Error> {
    let store = Store::connect(url, IfMissing::Refuse).await?;
    let (id, by) = (Uuid::new_v4(), "a test");
    let filter = Filter { ids: vec![id], ..Filter::default() };
    let chosen = [dead_letters::Selected { id, deaths: 1, body_bytes: 1 }];
    store.probe().await?;
    dead_letters::list(&store, &filter).await?;
    dead_letters::select(&store, &filter).await?;
    dead_letters::fetch(&store, &chosen).await?;
    dead_letters::find(&store, id).await?;
    dead_letters::history(&store, id).await?;
    dead_letters::counts(&store).await?;
    dead_letters::statuses(&store, &[id]).await?;
    dead_letters::claim(&store, &chosen, by).await?;
    dead_letters::confirm_claims(&store, &[dead_letters::ReplayKey { id, replays: 1 }]).await?;
    dead_letters::release_claims(&store, &[dead_letters::ReplayKey { id, replays: 1 }]).await?;
    dead_letters::discard(&store, &chosen, "no reason", by).await?;
    dead_letters::prune(&store, chrono::DateTime::UNIX_EPOCH, Prune::Count).await?;
    dead_letters::prune(&store, chrono::DateTime::UNIX_EPOCH, Prune::Delete).await?;
    bank_links::read_committed(&store, &[id]).await?;
    outbox::backlog(&store).await?;
    outbox::claim(&store, outbox::Due::New, 1).await?.finish(&[id], &[]).await?;
    store.renew().await;
    store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_asked_of_postgresql_is_waited_for_without_end() {
    let app = nobody_at_work(On::Postgres).await;
    let ended = join_all((0..240).step_by(9).map(async |answers| {
        let database = Proxy::before(&app.database_url()).await;
        database.set(Mode::SilentAfter(answers));
        let ended = within(ask_the_database(&database.url)).await;
        let clear = matches!(ended, Ok(()) | Err(store::Error::TimedOut | store::Error::Unavailable(_)));
        assert!(clear, "after {answers} answers: {ended:?}");
        ended.is_ok()
    }));
    let ended = ended.await;
    assert!(!ended[0] && ended[ended.len() - 1], "from no answer to all of them: {ended:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_and_say_why_when_a_server_says_nothing_or_refuses_and_work_when_it_is_well() {
    let app = nobody_at_work(On::Postgres).await;
    let (broker, database) = (Proxy::before(&amqp_url()).await, Proxy::before(&app.database_url()).await);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = format!("postgres://postgres:postgres@{nobody}/banklink");
    let (silent, well) = ((&broker.url, &database.url), (&amqp_url(), &app.database_url()));
    let call = async |arguments: &'static str, (amqp, database): (&String, &String)| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let command = banklink(&arguments).env("AMQP_URL", amqp).env("DATABASE_URL", database);
        command.env("BANKLINK_NAMESPACE", &app.namespace).env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms").run().await
    };
    let says_why = |outcome: &Outcome, why: &str| {
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stdout.contains(why) || outcome.stderr.contains(why), "{why}: {outcome:?}");
        assert!(outcome.stderr.lines().count() <= 2, "{outcome:?}");
    };
    broker.set(Mode::Silent);
    database.set(Mode::Silent);
    let (no_broker, no_database) = ("RabbitMQ did not answer in time", "the database did not answer in time");
    let of_the_broker = ["topology apply", "events tail", "check"];
    let of_the_database = ["migrate status", "migrate up", "check", "dead-letters list", "dead-letters stats"];
    tokio::join!(
        join_all(of_the_broker.map(async |command| says_why(&call(command, silent).await, no_broker))),
        join_all(of_the_database.map(async |command| says_why(&call(command, silent).await, no_database))),
        join_all(of_the_database.map(async |c| says_why(&call(c, (well.0, &refused)).await, "onnection refused"))),
        async {
            let replayed = call("dead-letters replay --class panicked --yes", (silent.0, well.1)).await;
            says_why(&replayed, "cannot publish");
        },
    );
    broker.set(Mode::Forward);
    database.set(Mode::Forward);
    for command in
        ["topology apply", "migrate status", "check", "dead-letters list", "dead-letters replay --class panicked --yes"]
    {
        let outcome = call(command, silent).await;
        assert_eq!(outcome.code, 0, "{command}: {outcome:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_message_that_cannot_be_read_does_not_disturb_those_that_are_alive() {
    let app = Recipe { workers: 0, delivery_limit: 1, ..Recipe::on(On::Postgres) }.start().await;
    // Not UTF-8, where AMQP says UTF-8: RabbitMQ does not mind, lapin drops the connection.
    let broker = Proxy::before(&amqp_url()).await;
    broker.set(Mode::Garbled(b"garble-me", b"garble-\xff\xff"));
    let connection = lapin::Connection::connect(&broker.url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (dead, options) = (app.topology.dead(), lapin::options::BasicPublishOptions::default());
    let unreadable = BasicProperties::default().with_app_id("garble-me".into());
    channel.basic_publish(dead.as_str().into(), "".into(), options, b"{}", unreadable).await.unwrap().await.unwrap();
    eventually("it is on the dead queue", async || (app.ready(&dead).await == 1).then_some(())).await;

    let mut worker = banklink(&["run", "worker", "--admin-listen", "127.0.0.1:0"])
        .env("AMQP_URL", amqp_url())
        .env("DATABASE_URL", app.database_url())
        .env("BANKLINK_NAMESPACE", &app.namespace)
        .env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms")
        .env("BANKLINK_DELIVERY_LIMIT", "1")
        .start();
    let lost = r#""message":"lost the connection to RabbitMQ","connection":"#;
    let mut accepted = Vec::new();
    // At a limit of one, two losses of the work connection bury what is in hand.
    for losses in 1..=4 {
        accepted.extend(post_some(&app.url, 100).await);
        eventually("another loss", async || (worker.log().matches(lost).count() >= losses).then_some(())).await;
    }
    until_rows(&app, &accepted).await;
    assert_eq!(worker.log().matches(&format!(r#"{lost}"consume""#)).count(), 0, "{}", worker.log());
    assert_eq!(worker.terminate().await, 0, "{}", worker.log());
    app.finish().await;
}
