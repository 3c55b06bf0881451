//! The whole of banklink in the test's own process, with a namespace and a database of its own.

use std::sync::Arc;
use std::time::Duration;

use banklink::app::App;
use banklink::broker::{Address, Topology};
use banklink::domain::retry::Schedule;
use banklink::store::{IfMissing, Store};
use banklink::{ingress, worker};
use entity::{bank_link, dead_letter, dead_letter_history, outbox_event};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, ConnectionProperties};
use sea_orm::{ConnectionTrait, Database, EntityTrait, PaginatorTrait, QueryOrder};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::fixtures;
use crate::waiting::{eventually, http_client, within};

/// The secret that everything is signed with, unless a test says otherwise.
pub(crate) const SECRET: &str = "a-secret-of-the-tests";

/// Which database an app is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Writes each test once for each database.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($app:ident: TestApp) $body:block)*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                async fn test($app: TestApp) $body

                #[tokio::test(flavor = "multi_thread")]
                async fn on_sqlite() {
                    test(TestApp::start($crate::app::On::Sqlite).await).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn on_postgres() {
                    test(TestApp::start($crate::app::On::Postgres).await).await;
                }
            }
        )*
    };
}
pub(crate) use on_both;

/// What an app is made of; tests change what they are about.
pub(crate) struct Recipe {
    pub(crate) namespace: String,
    pub(crate) on: On,
    pub(crate) schedule: &'static str,
    pub(crate) delivery_limit: u32,
    pub(crate) batch_size: usize,
    pub(crate) workers: usize,
    pub(crate) relays: usize,
    pub(crate) keys: &'static str,
    pub(crate) senders: ingress::Senders,
    pub(crate) max_body_bytes: usize,
    pub(crate) deadline: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) limits: ingress::Limits,
}

impl Recipe {
    pub(crate) fn on(on: On) -> Self {
        Self {
            namespace: format!("it-{}", Uuid::new_v4().simple()),
            on,
            schedule: "100ms,200ms",
            delivery_limit: 20,
            batch_size: 256,
            workers: 1,
            relays: 1,
            keys: SECRET,
            senders: ingress::Senders::default(),
            max_body_bytes: 262_144,
            deadline: Duration::from_secs(4),
            max_in_flight: 4096,
            limits: ingress::Limits::default(),
        }
    }

    pub(crate) fn retrying(self, schedule: &'static str) -> Self {
        Self { schedule, ..self }
    }

    pub(crate) fn workers(self, workers: usize, batch_size: usize) -> Self {
        Self { workers, batch_size, ..self }
    }

    pub(crate) async fn start(self) -> TestApp {
        TestApp::cook(self).await
    }
}

/// A running app.
pub(crate) struct TestApp {
    pub(crate) namespace: String,
    pub(crate) url: String,
    pub(crate) store: Store,
    /// A channel of the test's own.
    pub(crate) channel: Channel,
    pub(crate) topology: Arc<Topology>,
    /// What the roles are built from; gone once it is closed.
    banklink: Option<App>,
    batch_size: usize,
    delivery_limit: u32,
    pub(crate) http: reqwest::Client,
    stop_ingress: CancellationToken,
    stop: CancellationToken,
    roles: TaskTracker,
    database: TestDatabase,
    finished: bool,
}

impl TestApp {
    pub(crate) async fn start(on: On) -> Self {
        Recipe::on(on).start().await
    }

    async fn cook(recipe: Recipe) -> Self {
        let namespace = recipe.namespace.clone();
        let database = TestDatabase::create(recipe.on, &namespace).await;
        let store = Store::open(&database.url, IfMissing::Create).await.expect("a store");
        migration::up(store.connection()).await.expect("a schema");

        let amqp_url = amqp_url();
        let address = Address::parse(&amqp_url).expect("AMQP_URL is an AMQP URL");
        let schedule = Schedule::parse(recipe.schedule).expect("a schedule");
        let topology = Arc::new(Topology::new(&namespace, schedule, recipe.delivery_limit));
        let (stop, stop_ingress) = (CancellationToken::new(), CancellationToken::new());
        let roles = TaskTracker::new();
        let banklink = App::new(address, Arc::clone(&topology));

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/webhooks/lean", listener.local_addr().expect("an address"));
        let settings = ingress::Settings {
            keys: ingress::Keys::parse(recipe.keys).expect("secrets"),
            senders: recipe.senders,
            max_body_bytes: recipe.max_body_bytes,
            confirm_deadline: recipe.deadline,
            max_in_flight: recipe.max_in_flight,
            limits: recipe.limits,
        };
        let ingress = banklink.ingress(settings, stop_ingress.clone());
        let is_ready = async || ingress.readiness().await.is_ready().then_some(());
        eventually("a publisher", is_ready).await;
        roles.spawn(ingress.run(listener));
        let channel = channel().await;
        let app = Self {
            namespace,
            url,
            store,
            channel,
            topology,
            banklink: Some(banklink),
            batch_size: recipe.batch_size,
            delivery_limit: recipe.delivery_limit,
            http: http_client(),
            stop_ingress,
            stop,
            roles,
            database,
            finished: false,
        };
        app.subscribe("subscriber", "#").await;
        for _ in 0..recipe.workers {
            app.start_worker();
        }
        for _ in 0..recipe.relays {
            app.start_relay();
        }
        app
    }

    /// Starts one more worker.
    pub(crate) fn start_worker(&self) {
        let settings =
            worker::Settings { batch_size: self.batch_size, prefetch: 1024, event_source: "/banklink".to_owned() };
        let worker = self.banklink().worker(settings, &self.store, self.stop.clone());
        self.roles.spawn(async move { worker.run().await });
    }

    /// Starts one more relay.
    pub(crate) fn start_relay(&self) {
        let relay = self.banklink().relay(&self.store, self.stop.clone());
        self.roles.spawn(async move { relay.run().await });
    }

    fn banklink(&self) -> &App {
        self.banklink.as_ref().expect("not closed yet")
    }

    /// Declares a subscriber's queue and binds it to the events.
    pub(crate) async fn subscribe(&self, name: &str, key: &str) {
        self.overhear(name, &self.topology.events(), key).await;
    }

    /// Declares a queue of the test's own and binds it to an exchange.
    pub(crate) async fn overhear(&self, name: &str, exchange: &str, key: &str) {
        let queue = self.queue(name);
        let declared =
            self.channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default());
        declared.await.expect("a queue of the test's");
        let (queue, exchange) = (queue.as_str().into(), exchange.into());
        let bound =
            self.channel.queue_bind(queue, exchange, key.into(), QueueBindOptions::default(), FieldTable::default());
        bound.await.expect("a binding");
    }

    /// The database, as a URL.
    pub(crate) fn database_url(&self) -> String {
        self.database.url.clone()
    }

    /// The delivery limit of the work queue.
    pub(crate) fn delivery_limit(&self) -> u32 {
        self.delivery_limit
    }

    /// The full name of one of this app's queues.
    pub(crate) fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.namespace)
    }

    /// Posts a webhook, signed as Lean would.
    pub(crate) async fn post(&self, webhook: &Value) -> Answer {
        self.post_bytes(webhook.to_string().as_bytes()).await
    }

    pub(crate) async fn post_bytes(&self, body: &[u8]) -> Answer {
        self.post_signed(body, &fixtures::signature(SECRET, body)).await
    }

    pub(crate) async fn post_signed(&self, body: &[u8], signature: &str) -> Answer {
        let request = self.http.post(&self.url).header("lean-signature", signature).body(body.to_vec());
        Answer::read(request.send().await.expect("an answer")).await
    }

    /// Puts a message on the work queue by hand.
    pub(crate) async fn publish_by_hand(&self, body: &[u8], properties: BasicProperties) {
        let exchange = self.topology.webhooks();
        let options = BasicPublishOptions::default();
        let published = self.channel.basic_publish(exchange.as_str().into(), "lean".into(), options, body, properties);
        let confirmed = published.await.expect("published").await.expect("confirmed");
        assert!(confirmed.is_ack(), "{confirmed:?}");
    }

    /// Waits until everything posted so far is dealt with: a last webhook, behind all the others, has become an event.
    pub(crate) async fn settle_everything(&self) -> Vec<Value> {
        let last = fixtures::created(Uuid::new_v4());
        self.post(&last).await.assert_accepted();
        let mut events = Vec::new();
        loop {
            let event = self.next_event().await;
            if event["data"]["entity_id"] == last["payload"]["id"] {
                break;
            }
            events.push(event);
        }
        let id = Uuid::parse_str(last["payload"]["id"].as_str().unwrap_or_default()).expect("an id");
        bank_link::Entity::delete_by_id(id).exec(self.store.connection()).await.expect("the last one's row is gone");
        events
    }

    /// Waits for the next event at the subscriber.
    pub(crate) async fn next_event(&self) -> Value {
        let event = self.next_message("subscriber").await;
        serde_json::from_slice(&event.data).expect("an event is JSON")
    }

    /// Waits for the next message on one of this app's queues.
    pub(crate) async fn next_message(&self, queue: &str) -> lapin::message::Delivery {
        let queue = self.queue(queue);
        eventually(&format!("a message on {queue}"), async || {
            let got = self.channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await;
            got.expect("the queue is there").map(|message| message.delivery)
        })
        .await
    }

    /// How many messages are ready on a queue.
    pub(crate) async fn ready(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        declared.await.expect("the queue is there").message_count()
    }

    pub(crate) async fn bank_links(&self) -> Vec<bank_link::Model> {
        let links = bank_link::Entity::find().order_by_asc(bank_link::Column::EntityId);
        links.all(self.store.connection()).await.expect("bank links")
    }

    pub(crate) async fn bank_link(&self, id: Uuid) -> Option<bank_link::Model> {
        bank_link::Entity::find_by_id(id).one(self.store.connection()).await.expect("a bank link")
    }

    pub(crate) async fn dead_letters(&self) -> Vec<dead_letter::Model> {
        let letters = dead_letter::Entity::find().order_by_asc(dead_letter::Column::LastDiedAt);
        letters.all(self.store.connection()).await.expect("dead letters")
    }

    pub(crate) async fn history(&self) -> Vec<dead_letter_history::Model> {
        let history = dead_letter_history::Entity::find().order_by_asc(dead_letter_history::Column::Id);
        history.all(self.store.connection()).await.expect("history")
    }

    /// Waits until there are that many dead letters.
    pub(crate) async fn until_dead(&self, letters: usize) -> Vec<dead_letter::Model> {
        eventually(&format!("{letters} dead letters"), async || {
            let dead = self.dead_letters().await;
            (dead.len() >= letters).then_some(dead)
        })
        .await
    }

    /// Runs SQL that differs by database.
    pub(crate) async fn sql(&self, sqlite: &str, postgres: &str) {
        let sql = if self.database.on == On::Sqlite { sqlite } else { postgres };
        self.store.connection().execute_unprepared(sql).await.expect(sql);
    }

    /// Stops every role as a signal would, and waits until they have drained.
    pub(crate) async fn stop(&mut self) {
        self.stop_ingress.cancel();
        self.stop.cancel();
        self.roles.close();
        within(self.roles.wait()).await;
    }

    /// Tells the ingress to stop, without waiting for it.
    pub(crate) fn stop_ingress(&self) {
        self.stop_ingress.cancel();
    }

    /// Stops, and checks that no message and no event is left on any way.
    pub(crate) async fn assert_nothing_left_behind(mut self) {
        self.stop().await;
        for queue in self.queues() {
            assert_eq!(self.ready(&queue).await, 0, "messages left on {queue}");
        }
        let outbox = outbox_event::Entity::find().count(self.store.connection()).await.expect("the outbox");
        assert_eq!(outbox, 0, "events left in the outbox");
        self.clean_up().await;
    }

    /// Stops and cleans up, whatever is left.
    pub(crate) async fn finish(mut self) {
        self.stop().await;
        self.clean_up().await;
    }

    fn queues(&self) -> Vec<String> {
        let names = ["webhooks", "webhooks.dead", "subscriber"].map(|name| self.queue(name));
        let tiers =
            self.topology.schedule().tiers().into_iter().map(|tier| format!("{}.{tier}", self.topology.retry()));
        names.into_iter().chain(tiers).collect()
    }

    async fn clean_up(&mut self) {
        self.finished = true;
        if let Some(banklink) = self.banklink.take() {
            within(banklink.close()).await;
        }
        for queue in self.queues().into_iter().chain([self.queue("events.log")]) {
            let _ = self.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
        }
        for exchange in [self.topology.webhooks(), self.topology.retry(), self.topology.dead(), self.topology.events()]
        {
            let _ = self.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await;
        }
        self.store.close().await;
        self.database.drop().await;
    }
}

impl Drop for TestApp {
    /// A test that failed cleans up as well.
    fn drop(&mut self) {
        if !self.finished {
            let clean_up = async {
                self.stop().await;
                self.clean_up().await;
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(clean_up));
        }
    }
}

/// What the ingress answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("a body");
        Self { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }

    /// The message's id.
    #[track_caller]
    pub(crate) fn assert_accepted(&self) -> Uuid {
        assert_eq!(self.status, 200, "{self:?}");
        let id = Uuid::parse_str(self.body["message_id"].as_str().unwrap_or_default()).expect("a message id");
        assert_eq!(id.get_version_num(), 7);
        id
    }

    /// Refused with that status, as a problem.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
    }
}

/// A database of the test's own.
struct TestDatabase {
    on: On,
    name: String,
    url: String,
    _file: Option<tempfile::TempDir>,
}

impl TestDatabase {
    async fn create(on: On, name: &str) -> Self {
        let name = name.to_owned();
        match on {
            On::Sqlite => {
                let directory = tempfile::tempdir().expect("a directory");
                let url = format!("sqlite://{}?mode=rwc", directory.path().join("banklink.db").display());
                Self { on, name, url, _file: Some(directory) }
            }
            On::Postgres => {
                let server = Database::connect(postgres_url()).await.expect(UNREACHABLE);
                server.execute_unprepared(&format!("CREATE DATABASE \"{name}\"")).await.expect("a database");
                let (base, _) =
                    postgres_url().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a path");
                Self { on, url: format!("{base}/{name}"), name, _file: None }
            }
        }
    }

    async fn drop(&self) {
        if self.on == On::Postgres
            && let Ok(server) = Database::connect(postgres_url()).await
        {
            let _ = server.execute_unprepared(&format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name)).await;
        }
    }
}

const UNREACHABLE: &str = "the services are needed: run `make test`, or `deploy/services up` and export what it prints";

pub(crate) fn amqp_url() -> String {
    std::env::var("AMQP_URL").expect(UNREACHABLE)
}

pub(crate) fn postgres_url() -> String {
    let url = std::env::var("DATABASE_URL").expect(UNREACHABLE);
    assert!(url.starts_with("postgres"), "{UNREACHABLE}");
    url
}

/// A channel of the test's own.
pub(crate) async fn channel() -> Channel {
    let connection = lapin::Connection::connect(&amqp_url(), ConnectionProperties::default()).await.expect(UNREACHABLE);
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel
}
