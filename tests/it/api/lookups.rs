//! One link by its entity, and the list of a customer.

use rstest::rstest;
use serde_json::json;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::{created, entities, link};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_the_data_of_its_event_and_when_it_was_written(#[case] on: On) {
    let app = TestApp::start(on).await;
    let api = app.start_api(|settings| settings).await;
    let entity = Uuid::new_v4();
    let event = link(&app, "customer", entity).await;
    let answer = api.answer(&format!("/v1/bank-links/{entity}")).await;
    assert_eq!((answer.status, &answer.headers["etag"]), (200, &"\"1\"".parse().unwrap()), "{answer:?}");
    let mut expected = event["data"].clone();
    let updated_at = app.bank_link(entity).await.unwrap().updated_at;
    expected["updated_at"] = json!(updated_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    assert_eq!(answer.body, expected);
    assert_eq!(api.list("customer", "").await["bank_links"], json!([expected]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_the_requester_has_is_not_sent_again() {
    let app = TestApp::start(On::Sqlite).await;
    let api = app.start_api(|settings| settings).await;
    let entity = Uuid::new_v4();
    link(&app, "customer", entity).await;
    let path = format!("/v1/bank-links/{entity}");
    let status = async |tag: &str| {
        let response = api.get(&path).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(response.headers()["etag"].to_str().unwrap().len(), 3);
        response.status().as_u16()
    };
    for (tag, expected) in
        [("\"1\"", 304), ("W/\"1\"", 304), ("\"7\", \"1\"", 304), ("*", 304), ("\"2\"", 200), ("1", 200)]
    {
        assert_eq!(status(tag).await, expected, "{tag}");
    }
    app.post(&fixtures::updated(entity, "2026-07-01T00:00:00Z", &json!([]))).await.assert_accepted();
    app.next_event().await;
    assert_eq!((status("\"1\"").await, status("\"2\"").await), (200, 304));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_does_not_exist_is_not_found() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let api = app.start_api(|settings| settings).await;
    for id in [Uuid::new_v4().to_string().as_str(), "not-a-uuid", "%00", "%ff"] {
        api.answer(&format!("/v1/bank-links/{id}")).await.assert_refused(404);
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_the_links_of_one_customer_oldest_first(#[case] on: On) {
    let app = TestApp::start(on).await;
    let api = app.start_api(|settings| settings).await;
    let [late, early, other] = [(); 3].map(|()| Uuid::new_v4());
    for (customer, entity, timestamp) in [
        ("customer/1 ä", late, "2026-05-12T14:34:40.000000002Z"),
        ("customer/1 ä", early, "2026-05-12T14:34:40.000000001Z"),
        ("customer/2", other, "2026-05-12T14:34:40Z"),
    ] {
        app.post(&created(customer, entity, timestamp)).await.assert_accepted();
        app.next_event().await;
    }
    assert_eq!(entities(&api.list("customer%2F1%20%C3%A4", "").await), [early, late]);
    assert_eq!(entities(&api.list("customer%2F2", "").await), [other]);
    let unknown = api.list("customer", "").await;
    assert_eq!(unknown["bank_links"], json!([]));
    assert_ne!(unknown["cursor"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_whose_creation_has_not_been_heard_of_is_found_but_not_listed() {
    let app = TestApp::start(On::Sqlite).await;
    let api = app.start_api(|settings| settings).await;
    let entity = Uuid::new_v4();
    app.post(&fixtures::updated(entity, "2026-05-12T14:34:40Z", &json!(["accounts"]))).await.assert_accepted();
    let row = app.until_link(entity).await;
    let answer = api.answer(&format!("/v1/bank-links/{entity}")).await;
    assert_eq!((answer.status, &answer.body["linked_at"]), (200, &json!(null)));
    assert_eq!(api.list(&row.customer_id, "").await["bank_links"], json!([]));
}
