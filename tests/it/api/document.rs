//! The OpenAPI document says what the API does.

use testkit::{On, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let api = app.start_api(|settings| settings).await;
    let answer = api.answer("/v1/openapi.json").await;
    assert_eq!((answer.status, answer.headers["content-type"].to_str().unwrap()), (200, "application/json"));
    assert_eq!(answer.body["openapi"], "3.1.0");
    assert_eq!(answer.body["paths"].as_object().unwrap().len(), 4);
}
