//! `banklink simulate`: a stand-in for Lean (docs/CONTRACT.md#11-the-simulator).

mod browser;
mod delivery;
mod determinism;
mod entities;
mod events;
mod links;
mod page;
mod process;
mod read_api;
mod receiver;
mod reconcile;
mod sdk;
mod tokens;

use std::time::Duration;

use banklink::domain::signature::Keys;
use banklink::simulator::{Dialect, Odds, Settings, Simulator};
use serde_json::{Value, json};
use testkit::http::{self, Answer};
use testkit::waiting::{eventually, within};
use testkit::{SECRET, TestApp};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A simulator in the test's own process. [`Simulated::stop`] ends it.
struct Simulated {
    url: String,
    http: reqwest::Client,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// Settings that post to `webhook_url`, with a retry timetable of 60 ms to 10.8 s.
fn settings(webhook_url: &str) -> Settings {
    Settings {
        webhook_url: webhook_url.parse().unwrap(),
        keys: Keys::parse(SECRET).unwrap(),
        dialect: Dialect::Uae,
        odds: Odds::default(),
        time_scale: 1_000,
        seed: 7,
        api: None,
        answer_deadline: Duration::from_secs(60),
        token_lifetime: Settings::TOKEN_LIFETIME,
    }
}

impl Simulated {
    async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let simulator = Simulator::new(settings, stop.clone()).unwrap();
        Self { url, http: http::client(), stop, running: tokio::spawn(simulator.run(listener)) }
    }

    /// One that posts to the ingress of `app`.
    async fn of(app: &TestApp) -> Self {
        Self::start(settings(&app.url)).await
    }

    /// One whose webhooks go nowhere: port 9 discards.
    async fn without_receiver() -> Self {
        Self::start(Settings { odds: Odds { drop: 100, ..Odds::default() }, ..settings("http://127.0.0.1:9") }).await
    }

    async fn stop(self) {
        self.stop.cancel();
        within(self.running).await.unwrap();
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::read(self.http.get(format!("{}{path}", self.url)).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::read(self.http.post(format!("{}{path}", self.url)).body(body.to_string()).send().await.unwrap()).await
    }

    /// Creates links without a browser; returns their entity ids.
    async fn create_links(&self, count: usize) -> Vec<String> {
        let answer = self.post("/simulate/links", &json!({ "count": count })).await;
        assert_eq!((answer.status, &answer.body["count"]), (200, &json!(count)), "{answer:?}");
        let links = answer.body["links"].as_array().unwrap();
        links.iter().map(|link| link["entity_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Connects a customer as the SDK does.
    async fn connect(&self, customer: &str, bank: &str, permissions: &[&str]) -> Answer {
        let body = json!({ "customer_id": customer, "bank_identifier": bank, "permissions": permissions });
        self.post("/sdk/links", &body).await
    }

    /// How many webhooks came to which end, once none is under way.
    async fn settled(&self) -> Value {
        eventually("no webhook under way", async || {
            let webhooks = self.get("/simulate/status").await.body["webhooks"].take();
            (webhooks["waiting"] == 0).then_some(webhooks)
        })
        .await
    }

    /// An access token of that scope.
    async fn token(&self, scope: &str) -> String {
        let form = [("client_id", "c"), ("client_secret", "s"), ("grant_type", "client_credentials"), ("scope", scope)];
        let body = form.map(|(name, value)| format!("{name}={value}")).join("&");
        let request = self.http.post(format!("{}/oauth2/token", self.url)).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["access_token"].as_str().unwrap().to_owned()
    }

    /// Asks Lean's API, with a token of scope `api`.
    async fn ask(&self, path: &str) -> Answer {
        let token = self.token("api").await;
        self.ask_with(path, &token).await
    }

    async fn ask_with(&self, path: &str, token: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(token);
        Answer::read(request.send().await.unwrap()).await
    }

    /// All events that the Events API lists.
    async fn events(&self) -> Vec<Value> {
        let answer = self.ask("/events/v1?page=0&size=1000").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["data"].as_array().unwrap().clone()
    }
}
