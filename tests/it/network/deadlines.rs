//! Every request to RabbitMQ and PostgreSQL has a deadline.

use std::sync::Arc;
use std::time::Duration;

use banklink::broker::{self, Address, Connection, Consumer, EventSubscription, Outgoing, Publisher, Purpose};
use banklink::store::letters::{self, Filter, PruneMode};
use banklink::store::{self, Deadlines, IfMissing, Store, bank_links, outbox_claims, outbox_counts};
use futures_util::future::join_all;
use lapin::BasicProperties;
use testkit::proxy::{Mode, Proxy};
use testkit::waiting::within;
use testkit::{On, TestApp, amqp_url};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Deadline of a request in these tests.
const DEADLINE: Duration = Duration::from_secs(3);

/// Makes every kind of request to RabbitMQ, one after the other.
async fn use_the_broker(address: &Address, app: &TestApp) -> Result<(), broker::Error> {
    let topology = Arc::clone(&app.topology);
    let connection = Connection::connect_once(address, Arc::clone(&topology), Purpose::Consume).await?;
    connection.declare().await?;
    connection.compare().await?;
    let _tail = EventSubscription::open(&connection).await?;
    let tasks = TaskTracker::new();
    let publisher = Publisher::start(connection.clone(), &tasks);
    let message = broker::Message::received("{}".into(), banklink::domain::timestamp::Timestamp::now(), None);
    publisher.publish(Outgoing::webhook(&topology, &message), DEADLINE).await?;
    drop(publisher);
    tasks.close();
    tasks.wait().await;
    let mut consumer = Consumer::open(&connection, &topology.webhooks(), 5).await?;
    // Waiting for deliveries has no deadline: the heartbeat detects a dead server.
    let batch = tokio::time::timeout(DEADLINE, consumer.next_batch(1)).await.map_err(|_| broker::Error::TimedOut)??;
    consumer.ack(&batch, None).await?;
    consumer.last_batch(1).await?;
    consumer.close().await;
    Ok(())
}

/// Whatever request is pending when RabbitMQ falls silent, it times out.
#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_rabbitmq_times_out() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    for _ in 0..200 {
        app.publish(b"{}", BasicProperties::default()).await;
    }
    let outcomes = join_all((0..=200).step_by(4).map(async |reads| {
        let broker = Proxy::before(&amqp_url()).await;
        broker.set(Mode::SilentAfter(reads));
        // A heartbeat would end a request that has no deadline.
        let address = Address::parse(&format!("{}?heartbeat=600", broker.url)).unwrap().with_deadline(DEADLINE);
        let ended = within(use_the_broker(&address, &app)).await;
        assert!(matches!(ended, Ok(()) | Err(broker::Error::TimedOut)), "after {reads} reads: {ended:?}");
        ended.is_ok()
    }));
    let outcomes = outcomes.await;
    assert!(!outcomes[0] && outcomes[outcomes.len() - 1], "the first times out, the last succeeds: {outcomes:?}");
    assert!(outcomes.iter().filter(|ok| !**ok).count() >= 20, "many fail in the middle: {outcomes:?}");
    // The webhooks that no connection consumed.
    app.finish_with_leftovers().await;
}

/// Makes every kind of request to the database, one after the other.
async fn use_the_database(url: &str, deadlines: Deadlines) -> Result<(), store::Error> {
    let store = Store::open(url, IfMissing::Refuse, deadlines).await?;
    store.ping().await?;
    let (id, by) = (Uuid::new_v4(), "a test");
    let filter = Filter { ids: vec![id], ..Filter::default() };
    let selected = [letters::Selected { id, deaths: 1, replays: 0, body_bytes: 1 }];
    store.probe().await?;
    letters::page(&store, &filter, None).await?;
    letters::select(&store, &filter).await?;
    letters::load_selected(&store, &selected).await?;
    letters::load_one(&store, id).await?;
    letters::history(&store, id).await?;
    letters::stats(&store).await?;
    letters::statuses(&store, &[id]).await?;
    letters::claim(&store, &selected, by).await?;
    letters::confirm_claims(&store, &[letters::ReplayKey { id, number: 1 }]).await?;
    letters::release_claims(&store, &[letters::ReplayKey { id, number: 1 }]).await?;
    letters::discard(&store, &selected, "no reason", by).await?;
    letters::prune(&store, chrono::DateTime::UNIX_EPOCH, PruneMode::Count).await?;
    letters::prune(&store, chrono::DateTime::UNIX_EPOCH, PruneMode::Delete).await?;
    bank_links::read_committed(&store, &[id]).await?;
    outbox_counts::backlog(&store).await?;
    outbox_claims::claim(&store, outbox_claims::Due::New(None), 1).await?.finish(&[id], &[]).await?;
    store.close_idle_connections().await;
    store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_postgresql_times_out() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let deadlines = Deadlines { connect: 3 * DEADLINE, transaction: 3 * DEADLINE, ..Deadlines::default() };
    let outcomes = join_all((0..240).step_by(9).map(async |reads| {
        let database = Proxy::before(&app.database_url()).await;
        database.set(Mode::SilentAfter(reads));
        let ended = within(use_the_database(&database.url, deadlines)).await;
        let timed_out = matches!(ended, Ok(()) | Err(store::Error::TimedOut | store::Error::Unavailable(_)));
        assert!(timed_out, "after {reads} reads: {ended:?}");
        ended.is_ok()
    }));
    assert!(!outcomes.await[0], "the first times out");
    use_the_database(&app.database_url(), Deadlines::for_commands()).await.expect("without a fault it succeeds");
}
