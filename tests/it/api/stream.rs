//! The stream of a customer's events.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::app::ApiClient;
use testkit::waiting::within;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::{entities, link};

/// A stream that a client reads frame by frame.
pub(super) struct Frames {
    response: reqwest::Response,
    buffer: String,
}

impl Frames {
    pub(super) async fn open(api: &ApiClient, customer: &str) -> Self {
        let response = api.get(&format!("/v1/customers/{customer}/bank-links/events")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// The next frame as it was sent; `None` at the end of the stream.
    async fn next_raw(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(frame);
            }
            let bytes = within(self.response.chunk()).await.unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The name, the id and the data of the next frame that is not a comment.
    pub(super) async fn next(&mut self) -> (String, Option<String>, Value) {
        loop {
            let frame = self.next_raw().await.expect("another frame");
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(event) = field("event: ") {
                return (event, field("id: "), serde_json::from_str(&field("data: ").unwrap()).unwrap());
            }
            assert!(frame.starts_with(':'), "{frame}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_the_list_and_goes_on_with_each_event_of_the_customer() {
    let app = TestApp::start(On::Postgres).await;
    let api = app.start_api(|settings| settings).await;
    let [first, second] = [(); 2].map(|()| Uuid::new_v4());
    link(&app, "customer", first).await;
    let mut frames = Frames::open(&api, "customer").await;
    let (name, id, snapshot) = frames.next().await;
    assert_eq!((name.as_str(), id, &snapshot), ("snapshot", None, &api.list("customer", "").await));
    assert_eq!(entities(&snapshot), [first]);

    link(&app, "other", Uuid::new_v4()).await;
    let linked = link(&app, "customer", second).await;
    app.post(&fixtures::reconnected(first, "2026-07-01T00:00:00Z")).await.assert_accepted();
    let reconnected = app.next_event().await;
    for event in [linked, reconnected] {
        let (name, id, data) = frames.next().await;
        assert_eq!(data, event);
        assert_eq!((json!(name), json!(id)), (event["type"].clone(), event["id"].clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calm_stream_carries_comments_and_ends_when_the_api_stops() {
    let mut app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let comment_interval = Duration::from_millis(50);
    let api = app.start_api(|settings| banklink::api::Settings { comment_interval, ..settings }).await;
    let mut frames = Frames::open(&api, "customer").await;
    assert_eq!(frames.next().await.0, "snapshot");
    for _ in 0..3 {
        assert!(frames.next_raw().await.unwrap().starts_with(':'));
    }
    app.stop().await;
    while let Some(frame) = frames.next_raw().await {
        assert!(frame.starts_with(':'), "{frame}");
    }
}
