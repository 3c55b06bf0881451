//! How webhooks are posted, and posted again.

use std::time::Duration;

use banklink::simulator::{Dialect, Odds, Settings};
use rstest::rstest;
use serde_json::json;

use super::receiver::{Receiver, Reply};
use super::{Simulated, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_the_emirates_is_signed_and_posted_as_the_events_api_lists_it() {
    let receiver = Receiver::start().await;
    let lean = Simulated::start(settings(&receiver.url)).await;
    lean.connect("a-customer", "LEANMB2", &["accounts", "identity", "beneficiaries"]).await;
    lean.settled().await;
    let posts = receiver.posts();
    assert_eq!(posts, lean.events().await, "signed, and byte for byte the same JSON");
    let webhook = &posts[0];
    let id = webhook["payload"]["id"].as_str().unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok() && uuid::Uuid::parse_str(webhook["event_id"].as_str().unwrap()).is_ok());
    assert_eq!(webhook["timestamp"].as_str().unwrap().len(), "2026-05-12T14:34:40.391243281Z".len());
    assert_eq!(
        (&webhook["type"], &webhook["message"]),
        (&json!("entity.created"), &json!("An entity object has been created."),)
    );
    assert_eq!(
        webhook["payload"],
        json!({
            "id": id,
            "customer_id": "a-customer",
            "permissions": ["identity", "accounts"],
            "bank_details": {
                "name": "Lean Mock Bank", "identifier": "LEANMB2", "logo": "", "main_color": "#1beb75",
                "background_color": "#001E26", "swift_code": "LEANAEAD", "account_type": "PERSONAL", "bank_type": "RETAIL",
            },
        })
    );
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_saudi_arabia_has_neither_timestamp_nor_event_id() {
    let receiver = Receiver::start().await;
    let lean = Simulated::start(Settings { dialect: Dialect::Ksa, ..settings(&receiver.url) }).await;
    lean.connect("a-customer", "LEANMB1", &["accounts", "beneficiaries"]).await;
    lean.settled().await;
    let webhook = receiver.posts().remove(0);
    let keys: Vec<_> = webhook.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["message", "payload", "type"]);
    assert_eq!(webhook["payload"]["permissions"], json!(["accounts", "beneficiaries"]));
    lean.stop().await;
}

#[rstest]
#[case::server_error(|number| Reply::Status(if number < 3 { 503 } else { 200 }), 4)]
#[case::another_success(|number| Reply::Status(if number < 2 { 201 + number as u16 } else { 200 }), 3)]
#[case::a_redirect(|number| Reply::Status(if number == 0 { 307 } else { 200 }), 2)]
#[case::no_answer(|number| if number == 0 { Reply::None } else { Reply::Status(200) }, 2)]
#[tokio::test(flavor = "multi_thread")]
async fn only_200_in_time_ends_the_retries(#[case] reply: fn(usize) -> Reply, #[case] posts: usize) {
    let receiver = Receiver::answering(reply).await;
    let answer_deadline = Duration::from_secs(1);
    let lean = Simulated::start(Settings { answer_deadline, ..settings(&receiver.url) }).await;
    let entities = lean.create_links(1).await;
    let counts = lean.settled().await;
    assert_eq!(receiver.entities(), vec![entities[0].clone(); posts]);
    assert_eq!((&counts["sent"], &counts["accepted"], &counts["given_up"]), (&json!(posts), &json!(1), &json!(0)));
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_given_up_after_six_retries_and_stays_listed() {
    let receiver = Receiver::answering(|_| Reply::Status(500)).await;
    let lean = Simulated::start(Settings { time_scale: 1_000_000, ..settings(&receiver.url) }).await;
    lean.create_links(2).await;
    let counts = lean.settled().await;
    assert_eq!((&counts["sent"], &counts["given_up"], &counts["accepted"]), (&json!(14), &json!(2), &json!(0)));
    assert_eq!((receiver.posts().len(), lean.events().await.len()), (14, 2));
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_cannot_be_reached_counts_as_one_that_refuses() {
    let lean = Simulated::start(Settings { time_scale: 1_000_000, ..settings("http://127.0.0.1:9") }).await;
    lean.create_links(1).await;
    assert_eq!(lean.settled().await["given_up"], 1);
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_webhook_is_listed_and_never_posted() {
    let receiver = Receiver::start().await;
    let odds = Odds { drop: 50, ..Odds::default() };
    let lean = Simulated::start(Settings { odds, ..settings(&receiver.url) }).await;
    let entities = lean.create_links(60).await;
    let counts = lean.settled().await;
    let (dropped, posted) = (counts["dropped"].as_u64().unwrap(), receiver.entities());
    assert!((10..50).contains(&dropped), "{counts}");
    assert_eq!(posted.len() as u64 + dropped, 60);
    let listed: Vec<_> = lean.events().await.iter().map(|event| event["payload"]["id"].clone()).collect();
    assert_eq!(json!(listed), json!(entities), "in the order of their creation");
    lean.stop().await;
}
