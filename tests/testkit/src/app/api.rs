//! The read API of an app, and a client of it.

use std::sync::Arc;

use banklink::api::{Api, Settings, Tokens};
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::TestApp;
use crate::http::{self, Answer};
use crate::process::Invocation;
use crate::waiting::until;

/// The token that the API of the tests accepts.
pub const API_TOKEN: &str = "a-token-of-the-tests-of-32-letters";

/// A client of one API.
#[derive(Clone)]
pub struct ApiClient {
    /// The scheme and the address.
    pub origin: String,
    http: reqwest::Client,
    api: Option<Arc<Api>>,
}

impl TestApp {
    /// Starts the API in the test's own process, with settings that `change` has changed.
    pub async fn start_api(&self, change: impl FnOnce(Settings) -> Settings) -> ApiClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = ApiClient::at(&listener.local_addr().expect("an address").to_string());
        let settings = change(Settings::with_tokens(Tokens::new([API_TOKEN])));
        let api = self.banklink().api(settings, &self.store, self.stop.clone());
        self.roles.spawn(Arc::clone(&api).run(listener));
        ApiClient { api: Some(api), ..client }
    }

    /// The API as a process, on free ports.
    pub fn api_process(&self) -> Invocation {
        self.command(&["run", "api"]).env("BANKLINK_API_TOKENS", API_TOKEN).on_free_ports()
    }
}

impl ApiClient {
    /// A client of the API at that address.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self { origin: format!("http://{address}"), http: http::client(), api: None }
    }

    /// A request with the token.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.origin)).bearer_auth(API_TOKEN)
    }

    /// The answer to a request with the token.
    pub async fn answer(&self, path: &str) -> Answer {
        Answer::read(self.get(path).send().await.expect("an answer")).await
    }

    /// The list of a customer, with a query such as `wait=30s`.
    pub async fn list(&self, customer: &str, query: &str) -> Value {
        let answer = self.answer(&format!("/v1/customers/{customer}/bank-links?{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Starts a request for that list, and returns once the API counts it among those that wait.
    pub async fn start_waiting(&self, customer: &str, query: &str) -> JoinHandle<Value> {
        let waiting = self.waiting();
        let (client, customer, query) = (self.clone(), customer.to_owned(), query.to_owned());
        let request = tokio::spawn(async move { client.list(&customer, &query).await });
        self.until_waiting(waiting + 1).await;
        request
    }

    /// Waits until that many requests wait.
    pub async fn until_waiting(&self, requests: usize) {
        until(&format!("{requests} waiting requests"), async || self.waiting() == requests).await;
    }

    fn waiting(&self) -> usize {
        self.api.as_ref().expect("it runs in the test's process").waiting()
    }
}
