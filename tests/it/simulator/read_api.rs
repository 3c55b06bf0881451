//! What the shop's backend asks the read API: the real one, and for failures a stub.

use std::sync::{Arc, Mutex};

use banklink::server::{self, TrackedBody};
use banklink::simulator::{ReadApi, Settings};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use rstest::rstest;
use serde_json::{Value, json};
use testkit::app::API_TOKEN;
use testkit::http::Answer;
use testkit::waiting::{until, within};
use testkit::{On, TestApp};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Simulated, settings};

const TOKEN: &str = "a-token-of-thirty-two-characters";

/// Answers every request alike, or never; records path, query and token.
struct Api {
    url: String,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    _stop: DropGuard,
}

impl Api {
    async fn answering(answer: Option<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let recorded = Arc::clone(&requests);
        let handler = move |_, request: Request<TrackedBody>| {
            let token = request.headers()["authorization"].to_str().unwrap().to_owned();
            recorded.lock().unwrap().push((request.uri().to_string(), token));
            async move {
                let (status, body) = match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                };
                Ok(Response::builder().status(status).body(Full::<Bytes>::from(body)).unwrap())
            }
        };
        tokio::spawn(server::serve(listener, server::Limits::with_max_connections(16), handler, stop.clone()));
        Self { url, requests, _stop: stop.drop_guard() }
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn shop(api: &str) -> Simulated {
    let api = ReadApi { url: api.parse().unwrap(), token: TOKEN.to_owned() };
    Simulated::start(Settings { api: Some(api), ..settings("http://127.0.0.1:9") }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_bank_is_shown_whether_the_page_asks_before_or_after_the_webhook() {
    let app = TestApp::start(On::Sqlite).await;
    let api = app.start_api(|settings| settings).await;
    let api = ReadApi { url: api.origin.parse().unwrap(), token: API_TOKEN.to_owned() };
    let shop = Simulated::start(Settings { api: Some(api), ..settings(&app.url) }).await;
    let at_first = shop.get("/shop/bank-links?customer=c").await.body;
    assert_eq!(at_first["bank_links"], json!([]));

    let question = format!("/shop/bank-links?customer=c&wait=60s&cursor={}", at_first["cursor"].as_str().unwrap());
    let (before, connected) = tokio::join!(shop.get(&question), shop.connect("c", "LEANMB2", &["accounts"]));
    assert_eq!(connected.status, 200);
    let bank = &before.body["bank_links"][0]["bank"];
    assert_eq!((&bank["name"], &bank["main_color"]), (&json!("Lean Mock Bank"), &json!("#1beb75")));
    assert_ne!(before.body["cursor"], at_first["cursor"]);
    assert_eq!(shop.get(&question).await.body, before.body, "asked after the webhook");
    app.wait_until_processed().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_asks_with_its_token_and_passes_wait_and_cursor_on() {
    let answer = r#"{"bank_links":[{"entity_id":"e","bank":{"name":"B"},"new":1}],"cursor":"c2","other":true}"#;
    let api = Api::answering(Some((200, answer))).await;
    let shop = shop(&format!("{}/base/", api.url)).await;
    assert_eq!(shop.get("/shop/config").await.body["has_api"], true);
    let links = shop.get("/shop/bank-links?customer=a%20customer%2F1&wait=30s&cursor=c%261").await;
    assert_eq!(links.status, 200);
    assert_eq!(
        links.body,
        json!({
            "bank_links": [{ "entity_id": "e", "bank": { "name": "B" }, "new": 1 }], "cursor": "c2",
        })
    );
    shop.get("/shop/bank-links?customer=2").await;
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(
        api.requests(),
        [
            ("/base/v1/customers/a%20customer%2F1/bank-links?wait=30s&cursor=c%261".to_owned(), bearer.clone()),
            ("/base/v1/customers/2/bank-links".to_owned(), bearer),
        ]
    );
    shop.stop().await;
}

#[rstest]
#[case::refused(401, "{}", "the API answered 401 Unauthorized")]
#[case::not_json(200, "<html>", "the API answered with something else than bank links")]
#[case::other_json(200, r#"{"links":[]}"#, "the API answered with something else than bank links")]
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_api_is_a_bad_gateway_with_the_reason(
    #[case] status: u16,
    #[case] body: &'static str,
    #[case] reason: &str,
) {
    let api = Api::answering(Some((status, body))).await;
    let shop = shop(&api.url).await;
    let refused = shop.get("/shop/bank-links?customer=a").await;
    refused.assert_refused(502);
    assert_eq!(refused.body["detail"], reason);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_cannot_be_reached_is_a_bad_gateway() {
    let shop = shop("http://127.0.0.1:9").await;
    let refused = shop.get("/shop/bank-links?customer=a").await;
    refused.assert_refused(502);
    assert!(refused.body["detail"].as_str().unwrap().starts_with("the API cannot be reached: "), "{refused:?}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_waits_does_not_hold_up_the_end() {
    let api = Api::answering(None).await;
    let shop = shop(&api.url).await;
    let waiting = tokio::spawn(shop.http.get(format!("{}/shop/bank-links?customer=a&wait=60s", shop.url)).send());
    until("a question at the API", async || !api.requests().is_empty()).await;
    shop.stop().await;
    assert_eq!(within(waiting).await.unwrap().unwrap().status(), 503);
}

#[rstest]
#[case("", "customer is required")]
#[case("?customer=a&wait=61s", "wait: expected a duration of at most 60s")]
#[case("?customer=a&wait=soon", "wait: expected a duration of at most 60s")]
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_does_not_reach_the_api(#[case] query: &str, #[case] reason: &str) {
    let api = Api::answering(Some((200, "{}"))).await;
    let shop = shop(&api.url).await;
    let refused = shop.get(&format!("/shop/bank-links{query}")).await;
    refused.assert_refused(400);
    assert_eq!((&refused.body["detail"], api.requests().len()), (&Value::from(reason), 0));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_the_shop_says_so() {
    let lean = Simulated::without_receiver().await;
    assert_eq!(lean.get("/shop/config").await.body["has_api"], false);
    let refused = lean.get("/shop/bank-links?customer=a").await;
    refused.assert_refused(404);
    assert!(refused.body["detail"].as_str().unwrap().contains("--api-url"));
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_stranger_could_own_gets_no_bank_links() {
    let api = Api::answering(Some((200, r#"{"bank_links":[],"cursor":"c"}"#))).await;
    let shop = shop(&api.url).await;
    let ask = async |host: &str| {
        let request = shop.http.get(format!("{}/shop/bank-links?customer=a", shop.url)).header("host", host);
        Answer::read(request.send().await.unwrap()).await
    };
    ask("evil.example").await.assert_refused(403);
    assert_eq!(api.requests().len(), 0);
    assert_eq!(ask("localhost:9470").await.status, 200);
    shop.stop().await;
}
