//! Signed bodies that are not webhooks: each dies at once, and the reason names the wrong field.

use rstest::rstest;
use serde_json::{Value, json};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

/// An `entity.created` with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut webhook = fixtures::created(Uuid::new_v4());
    change(&mut webhook);
    webhook.to_string().into_bytes()
}

/// Signed bodies that are not webhooks, each with the class and the reason of its failure.
fn invalid_bodies() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let not_json: [(&[u8], _); 4] = [
        (b"not json", "expected ident at line 1 column 2"),
        (b"{\"type\":\"entity.created\"", "EOF while parsing an object at line 1 column 24"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ];
    let not_a_webhook: [(&[u8], _); 4] = [
        (b"[]", "webhook: expected an object"),
        (nested.as_bytes(), "webhook: expected an object"),
        (b"{}", "type: missing"),
        (b"{\"type\":7}", "type: expected text"),
    ];
    let not_json = not_json.into_iter().map(|(body, reason)| (body.to_vec(), "malformed_json", reason));
    let not_a_webhook = not_a_webhook.into_iter().map(|(body, reason)| (body.to_vec(), "invalid_webhook", reason));
    let wrong_fields = wrong_fields().into_iter().map(|(pointer, value, reason)| {
        let body = changed(|webhook| *webhook.pointer_mut(pointer).expect(pointer) = value);
        (body, "invalid_webhook", reason)
    });
    not_json.chain(not_a_webhook).chain(wrong_fields).collect()
}

/// A field, a wrong value for it, and the reason of the failure.
fn wrong_fields() -> Vec<(&'static str, Value, &'static str)> {
    let not_a_time = "timestamp: expected an RFC 3339 time between 1970 and 2262";
    let tomorrow = (chrono::Utc::now() + chrono::TimeDelta::hours(25)).to_rfc3339();
    let long = json!("x".repeat(129));
    vec![
        ("/payload", Value::Null, "payload: missing"),
        ("/payload", json!([1]), "payload: expected an object"),
        ("/payload/id", json!("f08fb010"), "payload.id: expected a UUID"),
        ("/payload/id", json!(1e300), "payload.id: expected text"),
        ("/payload/customer_id", json!(""), "payload.customer_id: missing"),
        ("/payload/customer_id", long, "payload.customer_id: longer than 128 characters"),
        ("/payload/customer_id", json!("a\u{0}b"), "payload.customer_id: holds U+0000"),
        ("/payload/customer_id", json!(7), "payload.customer_id: expected text"),
        ("/payload/app_user_id", json!("\u{0}"), "payload.app_user_id: holds U+0000"),
        ("/payload/permissions", json!(["a\u{0}"]), "payload.permissions: holds U+0000"),
        ("/payload/bank_details/logo", json!("\u{0}"), "payload.bank_details.logo: holds U+0000"),
        ("/event_id", json!("\u{0}"), "event_id: holds U+0000"),
        ("/timestamp", json!(7), "timestamp: expected text"),
        ("/timestamp", json!("soon"), not_a_time),
        ("/timestamp", json!("2025-02-25 11:40:31.981"), "timestamp: has no offset from UTC"),
        ("/timestamp", json!("1969-12-31T23:59:59Z"), not_a_time),
        ("/timestamp", json!("2262-04-12T00:00:00Z"), not_a_time),
        ("/timestamp", json!(tomorrow), "timestamp: more than 24 h in the future"),
    ]
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_body_that_is_not_a_webhook_dies_at_its_first_attempt_with_the_reason(#[case] on: On) {
    let app = TestApp::start(on).await;
    let bodies = invalid_bodies();
    let mut expected = Vec::new();
    for (body, class, reason) in &bodies {
        let id = app.post_bytes(body).await.assert_accepted();
        expected.push((id, (*class).to_owned(), (*reason).to_owned(), body.clone(), 1, 1, "dead".to_owned()));
    }
    let letters = app.until_dead(bodies.len()).await;
    let mut recorded: Vec<_> = letters
        .iter()
        .map(|l| {
            (
                l.message_id,
                l.failure_class.clone(),
                l.failure.clone(),
                l.body.clone(),
                l.attempts,
                l.deaths,
                l.state.clone(),
            )
        })
        .collect();
    recorded.sort();
    expected.sort();
    assert_eq!(recorded, expected);
    assert!(
        letters.iter().all(|letter| letter.source == "lean" && letter.fingerprint.len() == 12 && letter.replays == 0)
    );
    assert!(app.wait_until_processed().await.is_empty(), "the worker goes on");
}
