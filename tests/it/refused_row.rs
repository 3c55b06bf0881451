//! A row that the database refuses: its webhook dies alone, and the rest of the batch is written at the first attempt.

use rstest::rstest;
use serde_json::json;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use crate::outages::rules::refusing_trigger;

const SQLITE_TRIGGER: &str = "CREATE TRIGGER refuse BEFORE INSERT ON bank_links WHEN NEW.customer_id = 'refused' \
     BEGIN SELECT RAISE(ABORT, 'x'); END";
const CONSTRAINT: &str = "ALTER TABLE bank_links ADD CONSTRAINT refuse CHECK (customer_id <> 'refused')";
/// The worker's first batch has one delivery; the others make one batch.
const WEBHOOKS: usize = 257;
const REFUSED: usize = 150;

#[rstest]
#[case::sqlite_trigger(On::Sqlite, SQLITE_TRIGGER)]
#[case::postgres_constraint(On::Postgres, CONSTRAINT)]
#[case::postgres_trigger(On::Postgres, &refusing_trigger("P0001", "BEFORE INSERT", "NEW.customer_id = 'refused'"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_row_dies_alone_and_the_rest_of_its_batch_is_written(#[case] on: On, #[case] rule: &str) {
    let app = TestApp::builder(on).workers(0).unsubscribed().schedule("2s,2s").build().await;
    app.sql(rule, rule).await;
    app.subscribe("copies", &app.topology.retry(), "2s").await;
    let entities: Vec<Uuid> = (0..WEBHOOKS).map(|_| Uuid::new_v4()).collect();
    for (index, entity) in entities.iter().enumerate() {
        let mut webhook = fixtures::created(*entity);
        if index == REFUSED {
            webhook["payload"]["customer_id"] = json!("refused");
        }
        app.publish_webhook(&webhook).await;
    }
    app.start_worker();
    app.until_links(WEBHOOKS - 1).await;
    assert!(app.dead_letters().await.is_empty(), "the refused one still has attempts");
    let tier = format!("{}.2s", app.topology.retry());
    until("a message that waits for its retry", async || app.ready_messages(&tier).await == 1).await;

    let letters = app.until_dead(1).await;
    assert_eq!((letters.len(), letters[0].failure_class.as_str(), letters[0].attempts), (1, "rejected_by_database", 3));
    assert_eq!(letters[0].entity_id, Some(entities[REFUSED]));
    assert!(!letters[0].failure.contains("refused"), "the reason shows a value of the row: {}", letters[0].failure);
    assert_eq!(app.bank_links().await.len(), WEBHOOKS - 1);
    assert_eq!(app.ready_messages(&app.queue("copies")).await, 2, "no other webhook was retried");
    for _ in 0..2 {
        let copy: serde_json::Value = serde_json::from_slice(&app.next_message("copies").await.data).unwrap();
        assert_eq!(copy["payload"]["id"], json!(entities[REFUSED]));
    }
    app.until_outbox_is_empty().await;
}
