//! The token endpoint, and what a token is good for.

use std::time::Duration;

use banklink::simulator::Settings;
use rstest::rstest;
use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::waiting::until;

use super::{Simulated, settings};

const EVENTS: &str = "/events/v1?page=0&size=10";
const FORM: &str = "application/x-www-form-urlencoded";

async fn ask_for_token(lean: &Simulated, content_type: &str, body: &'static str) -> Answer {
    let request = lean.http.post(format!("{}/oauth2/token", lean.url)).header("content-type", content_type);
    Answer::read(request.body(body).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_get_a_token_of_3599_seconds() {
    let lean = Simulated::without_receiver().await;
    let body = "client_id=any&client_secret=any&grant_type=client_credentials&scope=api";
    let mut answer = ask_for_token(&lean, FORM, body).await;
    assert_eq!((answer.status, &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    let token = answer.body["access_token"].take();
    assert_eq!(
        answer.body,
        json!({
            "access_token": Value::Null, "token_type": "bearer", "expires_in": 3599, "scope": "api",
        })
    );
    assert_eq!(lean.ask_with(EVENTS, token.as_str().unwrap()).await.status, 200);
    lean.stop().await;
}

#[rstest]
#[case::no_secret(FORM, "client_id=a&grant_type=client_credentials&scope=api", 401, "invalid_client")]
#[case::empty_id(FORM, "client_id=&client_secret=b&grant_type=client_credentials&scope=api", 401, "invalid_client")]
#[case::other_grant(FORM, "client_id=a&client_secret=b&grant_type=password&scope=api", 400, "unsupported_grant_type")]
#[case::no_scope(FORM, "client_id=a&client_secret=b&grant_type=client_credentials", 400, "invalid_scope")]
#[case::no_customer(
    FORM,
    "client_id=a&client_secret=b&grant_type=client_credentials&scope=customer.",
    400,
    "invalid_scope"
)]
#[case::json("application/json", "{}", 400, "invalid_request")]
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_gets_no_token(
    #[case] content_type: &str,
    #[case] body: &'static str,
    #[case] status: u16,
    #[case] error: &str,
) {
    let lean = Simulated::without_receiver().await;
    let answer = ask_for_token(&lean, content_type, body).await;
    assert_eq!((answer.status, answer.body["error"].as_str()), (status, Some(error)), "{answer:?}");
    lean.stop().await;
}

#[rstest]
#[case("/events/v1?page=0&size=10")]
#[case("/customers/v1/entities?start_date=2026-01-01&end_date=2026-01-02")]
#[case("/customers/v1/a/entities")]
#[case("/customers/v1/a/entities/6bc2336a-6d74-4e59-a492-65313423a8f8")]
#[tokio::test(flavor = "multi_thread")]
async fn leans_api_answers_only_to_a_token_of_its_scope(#[case] path: &str) {
    let lean = Simulated::without_receiver().await;
    let refused = lean.get(path).await;
    refused.assert_refused(401);
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    lean.ask_with(path, "not-a-token").await.assert_refused(401);
    let token = lean.token("api").await;
    let basic = lean.http.get(format!("{}{path}", lean.url)).header("authorization", format!("Basic {token}"));
    Answer::read(basic.send().await.unwrap()).await.assert_refused(401);
    lean.ask_with(path, &lean.token("customer.a").await).await.assert_refused(403);
    assert_ne!(lean.ask_with(path, &token).await.status, 401);
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires() {
    let token_lifetime = Duration::from_secs(1);
    let lean = Simulated::start(Settings { token_lifetime, ..settings("http://127.0.0.1:9") }).await;
    let token = lean.token("api").await;
    until("an expired token", async || lean.ask_with(EVENTS, &token).await.status == 401).await;
    assert_eq!(lean.ask_with(EVENTS, &lean.token("api").await).await.status, 200, "a new one is valid");
    lean.stop().await;
}
