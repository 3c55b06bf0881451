//! Requests that wait for a change of the list.

use rstest::rstest;
use serde_json::json;
use testkit::app::ApiClient;
use testkit::process::{metric, until_answers};
use testkit::waiting::{eventually, until, within};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::stream::Frames;
use super::{created, entities, link};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_cursor_waits_for_the_first_link(#[case] on: On) {
    let app = TestApp::start(on).await;
    let api = app.start_api(|settings| settings).await;
    let waiting = api.start_waiting("customer", "wait=60s").await;
    let other = api.start_waiting("other", "wait=60s").await;
    let entity = Uuid::new_v4();
    link(&app, "customer", entity).await;
    assert_eq!(entities(&within(waiting).await.unwrap()), [entity]);
    // Now that there is one, it does not wait.
    assert_eq!(entities(&api.list("customer", "wait=60s").await), [entity]);
    assert!(!other.is_finished(), "the change is of another customer");
    other.abort();
    api.until_waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_cursor_waits_for_what_events_tell_and_for_nothing_else() {
    let app = TestApp::start(On::Postgres).await;
    let api = app.start_api(|settings| settings).await;
    let [first, second] = [(); 2].map(|()| Uuid::new_v4());
    link(&app, "customer", first).await;
    let before = api.list("customer", "").await;
    let query = |list: &serde_json::Value| format!("wait=60s&cursor={}", list["cursor"].as_str().unwrap());

    // The same values at a later instant move the row, and emit nothing.
    let waiting = api.start_waiting("customer", &query(&before)).await;
    app.post(&created("customer", first, "2026-06-01T00:00:00Z")).await.assert_accepted();
    until("the row is written", async || app.bank_link(first).await.unwrap().revision == 2).await;
    assert_eq!(api.list("customer", "").await["cursor"], before["cursor"]);
    // Each kind of event ends the wait.
    app.post(&created("customer", second, "2026-06-02T00:00:00Z")).await.assert_accepted();
    app.next_event().await;
    let two = within(waiting).await.unwrap();
    assert_eq!(entities(&two), [first, second]);
    let waiting = api.start_waiting("customer", &query(&two)).await;
    let mut updated = fixtures::updated(first, "2026-07-01T00:00:00Z", &json!(["accounts"]));
    updated["payload"]["customer_id"] = json!("customer");
    app.post(&updated).await.assert_accepted();
    let updated = within(waiting).await.unwrap();
    assert_eq!(updated["bank_links"][0]["permissions"], json!(["accounts"]));
    let waiting = api.start_waiting("customer", &query(&updated)).await;
    app.post(&fixtures::reconnected(second, "2026-07-01T00:00:00Z")).await.assert_accepted();
    let reconnected = within(waiting).await.unwrap();
    assert_eq!(reconnected["bank_links"][1]["reconnected_at"], "2026-07-01T00:00:00.000000Z");
    // A cursor of long ago is answered at once.
    assert_eq!(api.list("customer", &query(&before)).await, reconnected);
    assert_eq!(api.list("customer", "wait=60s&cursor=anything").await, reconnected);
    for _ in 0..2 {
        app.next_event().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_link_moves_to_another_customer_those_who_wait_for_either_are_answered() {
    let app = TestApp::start(On::Postgres).await;
    let api = app.start_api(|settings| settings).await;
    let entity = Uuid::new_v4();
    link(&app, "old", entity).await;
    let list = api.list("old", "").await;
    let old = api.start_waiting("old", &format!("wait=60s&cursor={}", list["cursor"].as_str().unwrap())).await;
    let new = api.start_waiting("new", "wait=60s").await;
    let mut frames = Frames::open(&api, "old").await;
    assert_eq!(entities(&frames.next().await.2), [entity]);
    let mut moved = fixtures::updated(entity, "2026-07-01T00:00:00Z", &json!(["accounts"]));
    moved["payload"]["customer_id"] = json!("new");
    app.post(&moved).await.assert_accepted();
    assert!(entities(&within(old).await.unwrap()).is_empty());
    assert_eq!(entities(&within(new).await.unwrap()), [entity]);
    let (name, _, snapshot) = frames.next().await;
    assert!(name == "snapshot" && entities(&snapshot).is_empty(), "{name} {snapshot}");
    app.next_event().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_a_request_is_answered_with_the_same_cursor() {
    let app = TestApp::start(On::Sqlite).await;
    let api = app.start_api(|settings| settings).await;
    let empty = api.list("customer", "wait=1ms").await;
    assert_eq!(empty["bank_links"], json!([]));
    link(&app, "customer", Uuid::new_v4()).await;
    let list = api.list("customer", "").await;
    assert_ne!(list["cursor"], empty["cursor"]);
    let cursor = list["cursor"].as_str().unwrap();
    assert_eq!(api.list("customer", &format!("wait=50ms&cursor={cursor}")).await, list);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_too_many_wait_a_request_is_refused_until_one_leaves() {
    let app = TestApp::start(On::Sqlite).await;
    let api = app.start_api(|settings| banklink::api::Settings { max_waiting: 2, ..settings }).await;
    let leaving = api.start_waiting("a", "wait=60s").await;
    let stream = api.get("/v1/customers/b/bank-links/events").send().await.unwrap();
    api.until_waiting(2).await;
    for path in ["/v1/customers/c/bank-links?wait=60s", "/v1/customers/c/bank-links/events"] {
        let refused = api.answer(path).await;
        refused.assert_refused(503);
        assert_eq!(refused.headers["retry-after"], "5");
    }
    // A request that does not wait needs no place.
    assert_eq!(api.list("c", "").await["bank_links"], json!([]));
    // The client disconnects.
    leaving.abort();
    api.until_waiting(1).await;
    drop(stream);
    api.until_waiting(0).await;
    let waiting = api.start_waiting("c", "wait=60s").await;
    waiting.abort();
    api.until_waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_answers_those_who_wait_and_one_that_is_killed_does_no_harm() {
    let app = TestApp::start(On::Postgres).await;
    let mut process = app.api_process().start();
    let (admin, client) = (process.admin().await, ApiClient::at(&process.api().await));
    until_answers(&admin, "/readyz/api", 200).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.list("customer", "wait=60s").await }
    });
    until("a waiting request", async || metric(&admin, "banklink_api_waiting").await == Some(1.0)).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    assert_eq!(within(waiting).await.unwrap()["bank_links"], json!([]));

    let killed = app.api_process().start();
    let waiting = ApiClient::at(&killed.api().await).get("/v1/customers/customer/bank-links?wait=60s").send();
    let waiting = tokio::spawn(waiting);
    let admin = killed.admin().await;
    until("a waiting request", async || metric(&admin, "banklink_api_waiting").await == Some(1.0)).await;
    killed.signal("KILL").await;
    assert!(within(waiting).await.unwrap().is_err());
    let entity = Uuid::new_v4();
    link(&app, "customer", entity).await;
    let restarted = app.api_process().start();
    let client = ApiClient::at(&restarted.api().await);
    let list = eventually("an answer", async || {
        let answer = client.answer("/v1/customers/customer/bank-links?wait=60s").await;
        (answer.status == 200).then_some(answer.body)
    });
    assert_eq!(entities(&list.await), [entity]);
}
