//! What the LinkSDK stand-in asks, from pages of any origin.

use banklink::simulator::{Dialect, Settings};
use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use super::{Simulated, settings};

#[rstest]
#[case(Dialect::Uae, 4, 3)]
#[case(Dialect::Ksa, 9, 8)]
#[tokio::test(flavor = "multi_thread")]
async fn each_bank_has_a_name_colours_and_what_can_be_granted(
    #[case] dialect: Dialect,
    #[case] retail: usize,
    #[case] sme: usize,
) {
    let lean = Simulated::start(Settings { dialect, ..settings("http://127.0.0.1:9") }).await;
    let answer = lean.get("/sdk/banks").await.body;
    let banks = answer["banks"].as_array().unwrap();
    assert!(banks.len() >= 3);
    for bank in banks {
        assert!(bank["identifier"].as_str().unwrap().starts_with("LEANMB") && bank["name"].is_string(), "{bank}");
        for color in ["main_color", "background_color"] {
            assert!(bank[color].as_str().unwrap().starts_with('#'), "{bank}");
        }
        let expected = if bank["bank_type"] == "SME" { sme } else { retail };
        assert_eq!(bank["permissions"].as_array().unwrap().len(), expected, "{bank}");
    }
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_carries_an_entity_id() {
    let lean = Simulated::without_receiver().await;
    let answer = lean.connect("a-customer", "LEANMB1", &["accounts"]).await;
    let keys: Vec<_> = answer.body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["message", "method", "status"]);
    let again = lean.connect("a-customer", "LEANMB1", &["balance"]).await.body.to_string();
    let id = lean.events().await[0]["payload"]["id"].as_str().unwrap().to_owned();
    assert!(!answer.body.to_string().contains(&id) && !again.contains(&id));
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bank_is_another_link_and_no_permission_is_a_consent_revoked() {
    let lean = Simulated::without_receiver().await;
    for (bank, permissions) in [("LEANMB1", ["accounts"].as_slice()), ("LEANMB2", &["accounts"]), ("LEANMB1", &[])] {
        assert_eq!(lean.connect("a-customer", bank, permissions).await.status, 200);
    }
    let events = lean.events().await;
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["entity.created", "entity.created", "entity.updated"]);
    assert_eq!(events[0]["payload"]["id"], events[2]["payload"]["id"]);
    assert_eq!(events[2]["payload"]["permissions"], json!([]));
    lean.stop().await;
}

#[rstest]
#[case(json!({ "customer_id": "a", "bank_identifier": "ENBD_UAE", "permissions": [] }))]
#[case(json!({ "customer_id": "", "bank_identifier": "LEANMB1", "permissions": [] }))]
#[case(json!({ "customer_id": "a", "bank_identifier": "LEANMB1" }))]
#[case(json!({ "customer_id": 7, "bank_identifier": "LEANMB1", "permissions": [] }))]
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_connect_is_refused(#[case] body: serde_json::Value) {
    let lean = Simulated::without_receiver().await;
    lean.post("/sdk/links", &body).await.assert_refused(400);
    lean.post("/sdk/reconnects", &json!({ "reconnect_id": uuid::Uuid::nil() })).await.assert_refused(404);
    lean.post("/shop/reconnects", &json!({ "customer_id": "a", "entity_id": uuid::Uuid::nil() }))
        .await
        .assert_refused(404);
    assert!(lean.events().await.is_empty());
    lean.stop().await;
}

#[rstest]
#[case(Method::GET, "/sdk.js", 200)]
#[case(Method::GET, "/sdk.css", 200)]
#[case(Method::GET, "/sdk/banks", 200)]
#[case(Method::OPTIONS, "/sdk/links", 204)]
#[case(Method::OPTIONS, "/sdk/reconnects", 204)]
#[case(Method::POST, "/sdk/links", 400)]
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_use_the_sdk(#[case] method: Method, #[case] path: &str, #[case] status: u16) {
    let lean = Simulated::without_receiver().await;
    let request = lean.http.request(method, format!("{}{path}", lean.url)).header("origin", "https://shop.example");
    let response = request.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["access-control-allow-origin"]),
        (status, &"*".parse().unwrap())
    );
    assert_eq!(response.headers()["access-control-allow-headers"], "content-type");
    assert_eq!(response.headers()["cross-origin-resource-policy"], "cross-origin");
    lean.stop().await;
}
