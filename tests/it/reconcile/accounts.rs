//! What each listed webhook comes to: known, sent, dead or ignored.

use banklink::broker::Message;
use banklink::domain::listed::Source;
use banklink::domain::timestamp::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use testkit::lean_api::LeanApi;
use testkit::waiting::until as wait_until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::{ago, complete, counts, created, entity, missing, reconcile, reconcile_from, until};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_sent_once_and_known_the_next_time(#[case] on: On) {
    let app = TestApp::start(on).await;
    let [arrived, lost] = [created(7_200), created(86_400)];
    let ignored = json!({ "type": "results.ready", "event_id": "r1", "timestamp": ago(60) });
    let lean = LeanApi::start([arrived.clone(), lost.clone(), ignored]).await;
    app.post(&arrived).await.assert_accepted();
    app.until_links(1).await;

    let (listed, dry) = missing(&app, &lean).await;
    assert_eq!(listed.iter().map(|missing| missing.entity_id).collect::<Vec<_>>(), [Some(entity(&lost))]);
    assert!(dry.failure.is_some(), "something is missing");
    assert!(app.reconcile_runs().await.is_empty() && app.bank_links().await.len() == 1, "a dry run writes nothing");

    let first = reconcile(&app, &lean).await;
    assert_eq!(complete(&first), counts(1, 1, 0, 1));
    app.until_links(2).await;
    let second = reconcile(&app, &lean).await;
    assert_eq!(complete(&second).sent, 0);
    assert_eq!(until(&app).await, second.complete_until);
    assert!(second.complete_until > first.complete_until);

    let runs = app.reconcile_runs().await;
    assert_eq!((runs[0].known, runs[0].sent, runs[0].dead, runs[0].ignored), (1, 1, 0, 1));
    assert_eq!((runs[0].complete_until, &runs[0].failure), (Some(runs[0].to), &None));
    for _ in 0..2 {
        assert_eq!(app.next_event().await["type"], "customer.bank_linked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_the_listed_webhook_byte_for_byte_under_an_id_of_its_event() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([]).await;
    let body = format!(
        r#"{{ "timestamp":"{}","type" : "entity.created", "event_id":"e1", "n":1e5, "payload":{{"customer_id":"c","id":"{}"}} }}"#,
        ago(60),
        Uuid::new_v4()
    );
    lean.add(&body);
    assert_eq!(complete(&reconcile(&app, &lean).await).sent, 1);

    let message = app.next_message("webhooks").await;
    assert_eq!(String::from_utf8_lossy(&message.data), body);
    let read = Message::read(&message.properties, message.data.into(), Timestamp::EPOCH);
    assert_eq!(read.id, Uuid::new_v5(&Uuid::NAMESPACE_URL, b"urn:banklink:lean-event:e1").to_string());
    assert_eq!((read.source.as_deref(), read.attempt, read.replay), (Some("lean-events"), 1, None));
    assert!(read.received_at > Timestamp::EPOCH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_webhook_that_dies_is_dead_the_next_time_and_stays_so_when_discarded() {
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    let mut without_customer = created(60);
    without_customer["payload"]["customer_id"] = json!(null);
    let mut without_entity = created(60);
    without_entity["payload"]["id"] = json!("not a UUID");
    let unknown = fixtures::reconnected(Uuid::new_v4(), &ago(60));
    let lean = LeanApi::start([without_customer, without_entity, unknown]).await;

    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 3, 0, 0));
    app.until_dead(3).await;
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 0, 3, 0));
    let discard = ["dead-letters", "discard", "--state", "dead", "--reason", "a test", "--yes"];
    assert_eq!(app.command(&discard).run().await.code, 0);
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 0, 3, 0));
    assert_eq!(app.dead_letters().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_letter_of_a_webhook_that_was_posted_accounts_for_it() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let mut without_customer = created(60);
    without_customer["payload"]["customer_id"] = json!(null);
    let mut without_entity = created(60);
    without_entity["payload"]["id"] = json!("not a UUID");
    let unknown = fixtures::reconnected(Uuid::new_v4(), &ago(60));
    let posted = [without_customer, without_entity, unknown];
    for webhook in &posted {
        app.post(webhook).await.assert_accepted();
    }
    let lean = LeanApi::start(posted.clone()).await;
    let letters = app.until_dead(3).await;
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 0, 3, 0));

    // Another webhook about the same entity has no letter.
    let mut other = posted[2].clone();
    other["event_id"] = json!("another");
    lean.add(&other);
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 1, 3, 0));
    app.until_dead(4).await;

    // An operator has replaced the webhook by an edited one, so the original is not sent again.
    let letter = letters.iter().find(|letter| letter.body == posted[0].to_string().into_bytes()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), created(60).to_string()).unwrap();
    let (id, path) = (letter.message_id.to_string(), file.path().to_str().unwrap());
    let edited = app.command(&["dead-letters", "edit", &id, "--yes", "--body", path]).run().await;
    assert_eq!(edited.code, 0, "{edited:?}");
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(1, 0, 3, 0));
    app.until_links(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_webhooks_about_one_link_are_all_sent_whatever_their_order() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let first = created(300);
    let id = entity(&first);
    let updated = fixtures::updated(id, &ago(200), &json!(["accounts"]));
    let reconnected = fixtures::reconnected(id, &ago(100));
    let lean = LeanApi::start([reconnected, updated, first]).await;
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 3, 0, 0));
    app.until_reconnected(&[id]).await;
    wait_until("the permissions of the update", async || {
        app.bank_link(id).await.is_some_and(|link| link.permissions == json!(["accounts"]) && link.linked_at.is_some())
    })
    .await;
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(3, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_without_timestamp_or_event_id_is_known_once_its_link_is_there() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let mut webhook = created(0);
    webhook.as_object_mut().unwrap().retain(|name, _| name != "timestamp" && name != "event_id");
    let lean = LeanApi::start([webhook]).await;
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 1, 0, 0));
    app.until_links(1).await;
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(1, 0, 0, 0));
}

fn listed_entity(id: Uuid, seconds: i64) -> Value {
    json!({
        "id": id, "customer_id": "customer-1", "bank_identifier": "RAJHI_SAU", "bank_type": "RETAIL",
        "permissions": { "identity": true, "accounts": true, "balance": false }, "consents": [],
        "status": "ACTIVE", "created_at": ago(seconds), "updated_at": ago(1),
    })
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_entity_counts_as_its_created_webhook(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let (arrived, lost) = (Uuid::new_v4(), Uuid::new_v4());
    // A Saudi webhook has no time of its own, so the row has that of its receipt.
    let mut webhook = fixtures::created(arrived);
    webhook.as_object_mut().unwrap().retain(|name, _| name != "timestamp" && name != "event_id");
    app.post(&webhook).await.assert_accepted();
    app.until_links(1).await;
    let lean = LeanApi::start([]).await;
    let too_old = listed_entity(Uuid::new_v4(), 91 * 86_400);
    lean.set_entities(vec![listed_entity(arrived, 5), listed_entity(lost, 86_400), too_old]);

    assert_eq!(complete(&reconcile_from(&app, &lean, Source::Entities).await), counts(1, 1, 0, 0));
    let link = app.until_link(lost).await;
    assert_eq!(
        (link.bank_identifier.as_deref(), link.permissions),
        (Some("RAJHI_SAU"), json!(["accounts", "identity"]))
    );
    assert_eq!(complete(&reconcile_from(&app, &lean, Source::Entities).await).sent, 0);
    assert_eq!(app.bank_links().await.len(), 2);
}
