//! banklink in the test's own process, with its own namespace and database.

mod api;
mod broker;
mod builder;
mod cleanup;
pub mod console;
mod database;
mod letters;
mod program;
mod rows;
mod slow_database;

use std::sync::{Arc, Mutex};

use banklink::app::App;
use banklink::broker::{Address, Publisher, Topology};
use banklink::domain::retry::Schedule;
use banklink::domain::signature::Keys;
use banklink::reconcile::{self, Reconciler};
use banklink::relay::Relay;
use banklink::store::{IfMissing, Store};
use banklink::worker::{self, Worker};
use banklink::{ingress, lean};
use lapin::Channel;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::Answer;
use crate::waiting::until;
use crate::{SECRET, amqp_url, fixtures, http};
pub use api::{API_TOKEN, ApiClient};
pub use broker::channel;
pub use builder::TestAppBuilder;
use database::TestDatabase;
pub use letters::{insert_dead_letters, lease_holder};
pub use slow_database::Slow;

/// The kind of database that an app uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// SQLite, in a temporary file.
    Sqlite,
    /// A new database on the shared PostgreSQL server, or on the one that [`TestAppBuilder::postgres`] names.
    Postgres,
}

/// A running app.
///
/// When it is dropped, it stops its roles, and fails the test if a message is left on one of its queues or an event in the
/// outbox. Tests that leave something on purpose end with [`TestApp::finish_with_leftovers`].
///
/// It needs tokio's multi-thread runtime.
pub struct TestApp {
    /// The first word of its queues and exchanges.
    pub namespace: String,
    /// The URL of its ingress.
    pub url: String,
    /// Its database.
    pub store: Store,
    /// A channel for the test, in confirm mode.
    pub channel: Channel,
    /// The names of its queues and exchanges.
    pub topology: Arc<Topology>,
    /// An HTTP client for the test.
    pub http: reqwest::Client,
    schedule: &'static str,
    delivery_limit: u32,
    batch_size: usize,
    /// Builds the roles; `None` once it is closed.
    banklink: Option<App>,
    stop_ingress: CancellationToken,
    stop: CancellationToken,
    roles: TaskTracker,
    database: TestDatabase,
    subscribed: bool,
    subscriptions: Mutex<Vec<String>>,
    finished: bool,
}

impl TestApp {
    /// Starts an app with default settings.
    pub async fn start(on: On) -> Self {
        Self::builder(on).build().await
    }

    /// Settings for an app.
    pub fn builder(on: On) -> TestAppBuilder {
        TestAppBuilder::new(on)
    }

    async fn build(builder: TestAppBuilder) -> Self {
        let database = TestDatabase::create(builder.on, builder.postgres, &builder.namespace).await;
        let store = Store::open(&database.url, IfMissing::Create, builder.store_deadlines).await.expect("a store");
        migration::up(&store.connection(), "").await.expect("a schema");

        let address = Address::parse(&amqp_url()).expect("AMQP_URL is an AMQP URL");
        let schedule = Schedule::parse(builder.schedule).expect("a schedule");
        let topology = Arc::new(Topology::new(&builder.namespace, schedule, builder.delivery_limit));
        let (stop, stop_ingress, roles) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let banklink = App::new(address, Arc::clone(&topology));

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/webhooks/lean", listener.local_addr().expect("an address"));
        let settings = ingress::Settings {
            keys: Keys::parse(builder.keys).expect("secrets"),
            senders: builder.senders,
            max_body_bytes: builder.max_body_bytes,
            confirm_deadline: builder.confirm_deadline,
            max_in_flight: builder.max_in_flight,
            limits: builder.ingress_limits,
        };
        let ingress = banklink.ingress(settings, stop_ingress.clone());
        until("a ready ingress", async || ingress.readiness().await.is_ready()).await;
        roles.spawn(ingress.run(listener));
        let app = Self {
            namespace: builder.namespace,
            url,
            store,
            channel: channel().await,
            topology,
            http: http::client(),
            schedule: builder.schedule,
            delivery_limit: builder.delivery_limit,
            batch_size: builder.batch_size,
            banklink: Some(banklink),
            stop_ingress,
            stop,
            roles,
            database,
            subscribed: builder.subscribed,
            subscriptions: Mutex::default(),
            finished: false,
        };
        if builder.subscribed {
            app.subscribe("subscriber", &app.topology.events(), "#").await;
        }
        for _ in 0..builder.workers {
            app.start_worker();
        }
        for _ in 0..builder.relays {
            app.start_relay();
        }
        app
    }

    /// A worker that is not running, for tests that call its steps. Drop it before the app.
    pub fn worker(&self) -> Arc<Worker> {
        let settings =
            worker::Settings { batch_size: self.batch_size, prefetch: 1024, event_source: "/banklink".to_owned() };
        self.banklink().worker(settings, &self.store, self.stop.clone())
    }

    /// A relay that is not running, for tests that call its steps. Drop it before the app.
    pub fn relay(&self) -> Arc<Relay> {
        self.banklink().relay(&self.store, self.stop.clone())
    }

    /// Starts a worker.
    pub fn start_worker(&self) {
        let worker = self.worker();
        self.roles.spawn(async move { worker.run().await });
    }

    /// Starts a relay.
    pub fn start_relay(&self) {
        let relay = self.relay();
        self.roles.spawn(async move { relay.run().await });
    }

    /// A reconciler that is not running, for tests that call its steps. Drop it before the app.
    pub fn reconciler(&self, settings: reconcile::Settings, client: lean::Client) -> Arc<Reconciler> {
        self.banklink().reconciler(settings, client, &self.store, self.stop.clone())
    }

    /// A publisher that is ready. Drop it before the app.
    pub async fn publisher(&self) -> Publisher {
        let publisher = self.banklink().publisher();
        until("a ready publisher", async || publisher.ready().is_ok()).await;
        publisher
    }

    fn banklink(&self) -> &App {
        self.banklink.as_ref().expect("the app is not closed")
    }

    /// Posts a webhook, signed as Lean signs.
    pub async fn post(&self, webhook: &Value) -> Answer {
        self.post_bytes(webhook.to_string().as_bytes()).await
    }

    /// Posts a body, signed as Lean signs.
    pub async fn post_bytes(&self, body: &[u8]) -> Answer {
        self.post_signed(body, &fixtures::signature(SECRET, body)).await
    }

    /// Posts a body with the given signature.
    pub async fn post_signed(&self, body: &[u8], signature: &str) -> Answer {
        let request = self.http.post(&self.url).header("lean-signature", signature).body(body.to_vec());
        Answer::read(request.send().await.expect("an answer")).await
    }
}
