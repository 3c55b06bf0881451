//! The Events API.

use banklink::simulator::{Dialect, Settings};
use rstest::rstest;
use serde_json::{Value, json};

use super::{Simulated, settings};

#[tokio::test(flavor = "multi_thread")]
async fn paging_covers_every_event_exactly_once_in_order() {
    let lean = Simulated::without_receiver().await;
    let entities = lean.create_links(23).await;
    let mut listed = Vec::new();
    for number in 0..4 {
        let answer = lean.ask(&format!("/events/v1?page={number}&size=7")).await.body;
        let page = json!({ "number": number, "size": 7, "total_elements": 23, "total_pages": 4 });
        assert_eq!(answer["page"], page);
        listed.extend(answer["data"].as_array().unwrap().clone());
    }
    let ids: Vec<_> = listed.iter().map(|event| event["payload"]["id"].clone()).collect();
    assert_eq!(json!(ids), json!(entities));
    let times: Vec<_> = listed.iter().map(|event| event["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|one, other| one < other), "each has a time of its own");
    let after_the_last = lean.ask("/events/v1?page=4&size=7").await.body;
    assert_eq!((&after_the_last["data"], &after_the_last["page"]["total_elements"]), (&json!([]), &json!(23)));
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_and_to_exclude_their_own_instant_and_type_selects_one_type() {
    let lean = Simulated::without_receiver().await;
    for permissions in [["accounts"], ["balance"], ["identity"]] {
        lean.connect("a-customer", "LEANMB1", &permissions).await;
    }
    let all = lean.events().await;
    let [first, second, third] = [0, 1, 2].map(|index| all[index]["timestamp"].as_str().unwrap());
    let listed = async |query: String| -> Vec<Value> {
        let answer = lean.ask(&format!("/events/v1?page=0&size=10{query}")).await.body;
        assert_eq!(answer["page"]["total_elements"], answer["data"].as_array().unwrap().len());
        answer["data"].as_array().unwrap().clone()
    };
    assert_eq!(listed(format!("&from={first}")).await, all[1..]);
    assert_eq!(listed(format!("&to={third}")).await, all[..2]);
    assert_eq!(listed(format!("&from={first}&to={third}")).await, all[1..2]);
    assert_eq!(listed(format!("&from={second}&to={second}")).await, [] as [Value; 0]);
    assert_eq!(listed("&type=entity.updated".to_owned()).await, all[1..]);
    assert_eq!(listed("&type=payment.created".to_owned()).await, [] as [Value; 0]);
    assert_eq!(listed("&from=&to=&type=".to_owned()).await, all, "an empty parameter is an absent one");
    lean.stop().await;
}

#[rstest]
#[case("")]
#[case("page=0")]
#[case("size=10")]
#[case("page=-1&size=10")]
#[case("page=0&size=0")]
#[case("page=0&size=1001")]
#[case("page=one&size=10")]
#[case("page=0&size=10&from=yesterday")]
#[case("page=0&size=10&to=2026-05-12")]
#[case("page=0&size=10&from=2026-05-12T14:34:40")]
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_answered_400(#[case] query: &str) {
    let lean = Simulated::without_receiver().await;
    lean.ask(&format!("/events/v1?{query}")).await.assert_refused(400);
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saudi_arabia_has_no_events_api() {
    let lean = Simulated::start(Settings { dialect: Dialect::Ksa, ..settings("http://127.0.0.1:9") }).await;
    lean.ask("/events/v1?page=0&size=10").await.assert_refused(404);
    lean.stop().await;
}
