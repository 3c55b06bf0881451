//! What is refused, and how.

use testkit::app::API_TOKEN;
use testkit::http::{Answer, client};
use testkit::process::{banklink, metric, until_answers};
use testkit::{On, TestApp};

const PATHS: [&str; 6] = [
    "/v1/bank-links/f08fb010-878f-407a-9ac2-a7840fb56185",
    "/v1/customers/c/bank-links",
    "/v1/customers/c/bank-links/events",
    "/v1/openapi.json",
    "/v1/typo",
    "/",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_path_asks_for_a_token() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let api = app.start_api(|settings| settings).await;
    for path in PATHS {
        let url = format!("{}{path}", api.origin);
        for (authorization, challenge) in [
            (None, r#"Bearer realm="banklink""#),
            (Some("Basic YTpi".to_owned()), r#"Bearer realm="banklink""#),
            (Some(format!("Bearer {API_TOKEN}x")), r#"Bearer realm="banklink", error="invalid_token""#),
        ] {
            let request = client().get(&url);
            let request = authorization.iter().fold(request, |request, value| request.header("authorization", value));
            let answer = Answer::read(request.send().await.unwrap()).await;
            answer.assert_refused(401);
            assert_eq!(answer.headers["www-authenticate"], challenge, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_methods_and_parameters_get_a_clear_error() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let api = app.start_api(|settings| settings).await;
    for path in ["/", "/v1", "/v1/typo", "/v1/bank-links/", "/v1/customers//bank-links/x"] {
        api.answer(path).await.assert_refused(404);
    }
    let long = "x".repeat(129);
    for (path, named) in [
        (format!("/v1/customers/{long}/bank-links"), "customer_id"),
        (format!("/v1/customers/{long}/bank-links/events"), "customer_id"),
        ("/v1/customers/%00/bank-links".to_owned(), "customer_id"),
        ("/v1/customers/%ff/bank-links".to_owned(), "customer_id"),
        ("/v1/customers/c/bank-links?wait=61s".to_owned(), "wait"),
        ("/v1/customers/c/bank-links?wait=30".to_owned(), "wait"),
        ("/v1/customers/c/bank-links?wait=1s&wait=2s".to_owned(), "wait"),
        ("/v1/customers/c/bank-links?waits=1s".to_owned(), "wait"),
    ] {
        let answer = api.answer(&path).await;
        answer.assert_refused(400);
        assert!(answer.body["detail"].as_str().unwrap().contains(named), "{path}: {answer:?}");
    }
    for method in [reqwest::Method::POST, reqwest::Method::DELETE] {
        let url = format!("{}/v1/customers/c/bank-links", api.origin);
        let answer = Answer::read(client().request(method, url).bearer_auth(API_TOKEN).send().await.unwrap()).await;
        answer.assert_refused(405);
        assert_eq!(answer.headers["allow"], "GET,HEAD");
    }
}

#[tokio::test]
async fn an_api_without_good_tokens_does_not_start() {
    for tokens in [
        "",
        "short",
        "a-token-of-at-least-32-characters,",
        "a token of at least 32 characters!",
        "ü".repeat(40).as_str(),
    ] {
        let run = banklink(&["run", "api"]).on_free_ports().env("BANKLINK_API_TOKENS", tokens).run().await;
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains("BANKLINK_API_TOKENS") && !run.stderr.contains("a token of"), "{run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_route_and_the_role_is_ready_by_itself() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut process = app.api_process().start();
    let (admin, api) = (process.admin().await, testkit::app::ApiClient::at(&process.api().await));
    until_answers(&admin, "/readyz/api", 200).await;
    until_answers(&admin, "/readyz", 200).await;
    let requests = async |labels: &str| metric(&admin, &format!("banklink_api_requests_total{{{labels}}}")).await;
    let list = r#"route="/v1/customers/{customer_id}/bank-links",status="#;
    assert_eq!(requests(&format!(r#"{list}"200""#)).await, Some(0.0));
    assert_eq!(metric(&admin, "banklink_api_waiting").await, Some(0.0));
    api.list("secret-customer", "").await;
    api.answer("/v1/customers/secret-customer/bank-links?wait=x").await.assert_refused(400);
    api.answer("/v1/secret-customer").await.assert_refused(404);
    assert_eq!(requests(&format!(r#"{list}"200""#)).await, Some(1.0));
    assert_eq!(requests(&format!(r#"{list}"400""#)).await, Some(1.0));
    assert_eq!(requests(r#"route="none",status="404""#).await, Some(1.0));
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    assert!(!process.log().contains("secret-customer") && !process.log().contains(API_TOKEN), "{}", process.log());
}
