//! What the simulator posts, at a real ingress.

use banklink::simulator::{Dialect, Odds, Settings};
use rstest::rstest;
use serde_json::json;
use testkit::{On, TestApp};
use uuid::Uuid;

use super::{Simulated, settings};

#[rstest]
#[case::uae(Dialect::Uae)]
#[case::ksa(Dialect::Ksa)]
#[tokio::test(flavor = "multi_thread")]
async fn links_without_a_browser_become_bank_links(#[case] dialect: Dialect) {
    let app = TestApp::start(On::Sqlite).await;
    let lean = Simulated::start(Settings { dialect, ..settings(&app.url) }).await;
    let entities = lean.create_links(5).await;
    app.until_links(5).await;
    for entity in entities {
        let row = app.bank_link(Uuid::parse_str(&entity).unwrap()).await.unwrap();
        let of_customer = lean.ask(&format!("/customers/v1/{}/entities", row.customer_id)).await.body;
        assert_eq!(of_customer[0]["id"], entity);
        assert_eq!(of_customer[0]["bank_identifier"].as_str(), row.bank_identifier.as_deref());
        assert_eq!(of_customer[0]["bank_type"].as_str(), row.bank_type.as_deref());
        assert!(row.bank_name.is_some() && row.bank_main_color.is_some() && row.linked_at.is_some());
    }
    let counts = lean.settled().await;
    assert_eq!((&counts["created"], &counts["sent"], &counts["accepted"]), (&json!(5), &json!(5), &json!(5)));
    assert!(app.dead_letters().await.is_empty());
    app.wait_until_processed().await;
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_again_changes_the_permissions_and_reconnecting_reconnects() {
    let app = TestApp::start(On::Sqlite).await;
    let lean = Simulated::of(&app).await;
    let customer = "6bc2336a-6d74-4e59-a492-65313423a8f";
    let connected = lean.connect(customer, "LEANMB2", &["accounts", "balance"]).await;
    assert_eq!(
        connected.body,
        json!({
            "status": "SUCCESS", "method": "LINK", "message": "Customer created entity successfully",
        })
    );
    app.until_links(1).await;
    let link = app.bank_links().await.remove(0);
    assert_eq!((link.customer_id.as_str(), link.bank_name.as_deref()), (customer, Some("Lean Mock Bank")));
    assert_eq!(link.permissions, json!(["accounts", "balance"]));

    assert_eq!(lean.connect(customer, "LEANMB2", &["transactions"]).await.status, 200);
    testkit::waiting::until("other permissions", async || {
        app.bank_link(link.entity_id).await.unwrap().permissions == json!(["transactions"])
    })
    .await;
    assert_eq!(app.bank_links().await.len(), 1, "the same link, updated");

    let offer = json!({ "customer_id": customer, "entity_id": link.entity_id });
    let reconnect = lean.post("/shop/reconnects", &offer).await.body;
    let reconnected = lean.post("/sdk/reconnects", &reconnect).await;
    assert_eq!((&reconnected.body["status"], &reconnected.body["method"]), (&json!("SUCCESS"), &json!("LINK")));
    app.until_reconnected(&[link.entity_id]).await;
    assert_eq!(lean.post("/sdk/reconnects", &reconnect).await.status, 404, "an offer is good for one reconnect");

    let kinds: Vec<_> = lean.events().await.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["entity.created", "entity.updated", "entity.reconnected"]);
    let last = lean.events().await.pop().unwrap();
    assert_eq!(last["payload"], json!({ "id": link.entity_id, "reconnect_id": reconnect["reconnect_id"] }));
    app.wait_until_processed().await;
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicated_and_reordered_webhooks_lead_to_the_same_links() {
    let app = TestApp::start(On::Sqlite).await;
    let odds = Odds { duplicate: 50, reorder: 50, drop: 0 };
    let lean = Simulated::start(Settings { odds, ..settings(&app.url) }).await;
    let entities = lean.create_links(40).await;
    let counts = lean.settled().await;
    assert_eq!(counts["accepted"], 40);
    assert!(counts["duplicated"].as_u64() > Some(5) && counts["reordered"].as_u64() > Some(5), "{counts}");
    app.until_links(entities.len()).await;
    app.wait_until_processed().await;
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_links_of_one_request_may_be_of_one_customer() {
    let app = TestApp::start(On::Sqlite).await;
    let lean = Simulated::of(&app).await;
    let answer = lean.post("/simulate/links", &json!({ "count": 3, "customer_id": "one" })).await;
    assert_eq!(answer.status, 200);
    app.until_links(3).await;
    assert!(app.bank_links().await.iter().all(|link| link.customer_id == "one"));
    app.wait_until_processed().await;
    lean.stop().await;
}

#[rstest]
#[case(json!({ "count": 0 }))]
#[case(json!({ "count": 10_001 }))]
#[case(json!({ "count": "many" }))]
#[case(json!({}))]
#[case(json!({ "count": 1, "customer_id": "" }))]
#[case(json!({ "count": 1, "customer_id": "x".repeat(129) }))]
#[case(json!({ "count": 1, "customer": "misspelt" }))]
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_creates_no_link(#[case] body: serde_json::Value) {
    let lean = Simulated::without_receiver().await;
    lean.post("/simulate/links", &body).await.assert_refused(400);
    assert_eq!(lean.get("/simulate/status").await.body["links"], 0);
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_has_a_bound() {
    let lean = Simulated::without_receiver().await;
    for _ in 0..10 {
        lean.create_links(10_000).await;
    }
    lean.post("/simulate/links", &json!({ "count": 1 })).await.assert_refused(503);
    lean.stop().await;
}
