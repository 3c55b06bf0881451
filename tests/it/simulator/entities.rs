//! The entities of the Data API.

use banklink::domain::timestamp::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use super::Simulated;

/// Yesterday to tomorrow: the test may run at midnight.
fn dates() -> String {
    let day = |offset: i64| {
        let time = Timestamp::from_nanos(Timestamp::now().nanos() + offset * 86_400_000_000_000).unwrap();
        time.rfc3339_micros()[..10].to_owned()
    };
    format!("start_date={}&end_date={}", day(-1), day(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_has_flat_bank_details_and_a_map_of_permissions() {
    let lean = Simulated::without_receiver().await;
    lean.connect("a customer/1", "LEANMB5", &["identity", "accounts", "transactions"]).await;
    let entities = lean.ask("/customers/v1/a%20customer%2F1/entities").await.body;
    let entity = &entities[0];
    assert_eq!(entities.as_array().unwrap().len(), 1);
    assert_eq!(
        entity["permissions"],
        json!({
            "identity": false, "accounts": true, "balance": false, "transactions": true, "identities": false,
            "standing_orders": false, "scheduled_payments": false, "direct_debits": false, "beneficiaries": false,
        }),
        "a business bank has no identity"
    );
    let member = |name: &str| entity[name].as_str().unwrap();
    assert_eq!(
        (member("customer_id"), member("bank_identifier"), member("bank_type"), member("status")),
        ("a customer/1", "LEANMB5", "SME", "ACTIVE")
    );
    assert!(member("created_at") == member("updated_at") && Timestamp::parse(member("created_at")).is_ok());
    assert_eq!(entity["consents"][0]["consent_status"], "ACTIVE");

    let path = format!("/customers/v1/a%20customer%2F1/entities/{}", member("id"));
    assert_eq!(lean.ask(&path).await.body, *entity);
    lean.ask(&path.replace("customer%2F1", "customer%2F2")).await.assert_refused(404);
    lean.ask("/customers/v1/a%20customer%2F1/entities/1").await.assert_refused(404);
    assert_eq!(lean.ask("/customers/v1/unknown/entities").await.body, json!([]));
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_covers_every_entity_exactly_once() {
    let lean = Simulated::without_receiver().await;
    let created = lean.create_links(11).await;
    let mut listed: Vec<Value> = Vec::new();
    for number in 0..3 {
        let path = format!("/customers/v1/entities?{}&page_number={number}&page_size=5", dates());
        let answer = lean.ask(&path).await.body;
        let page = json!({ "number": number, "size": 5, "total_elements": 11, "total_pages": 3 });
        assert_eq!(answer["page"], page);
        listed.extend(answer["data"].as_array().unwrap().iter().map(|entity| entity["id"].clone()));
    }
    assert_eq!(json!(listed), json!(created));
    let all = lean.ask(&format!("/customers/v1/entities?{}", dates())).await.body;
    assert_eq!((&all["page"]["size"], all["data"].as_array().unwrap().len()), (&json!(100), 11));
    let before = lean.ask("/customers/v1/entities?start_date=2020-01-01&end_date=2020-12-31").await.body;
    assert_eq!(before["data"], json!([]));
    lean.stop().await;
}

#[rstest]
#[case("")]
#[case("start_date=2026-01-01")]
#[case("end_date=2026-01-01")]
#[case("start_date=2026-01-02&end_date=2026-01-01")]
#[case("start_date=2026-01-01T00:00:00Z&end_date=2026-01-02")]
#[case("start_date=2026-02-30&end_date=2026-03-01")]
#[case("start_date=2026-01-01&end_date=2026-01-02&page_size=0")]
#[case("start_date=2026-01-01&end_date=2026-01-02&page_number=x")]
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_answered_400(#[case] query: &str) {
    let lean = Simulated::without_receiver().await;
    lean.ask(&format!("/customers/v1/entities?{query}")).await.assert_refused(400);
    lean.stop().await;
}
