//! Processes that die at the worst moment.

use rstest::rstest;
use serde_json::json;
use testkit::process::Running;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

/// Waits until the process has ended by a signal.
async fn assert_aborted(mut process: Running) {
    assert_eq!(process.ended().await, -1, "it exits by a signal: {}", process.log());
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_commit_and_ack_loses_and_repeats_nothing(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).build().await;
    let entity = Uuid::new_v4();
    app.post(&fixtures::created(entity)).await.assert_accepted();
    app.post(&json!({ "type": "entity.created" })).await.assert_accepted();
    for _ in 0..2 {
        assert_aborted(app.role("worker").env("BANKLINK_FAULT", "before settling").start()).await;
    }
    assert_eq!(app.bank_link(entity).await.map(|row| row.revision), Some(1), "it committed before it died");
    app.start_worker();
    assert_eq!(app.until_dead(1).await[0].failure_class, "invalid_webhook");
    let events = app.wait_until_processed().await;
    assert_eq!(events.len(), 1, "announced once: {events:?}");
    assert_eq!(app.bank_link(entity).await.map(|row| row.revision), Some(1));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_between_publish_and_delete_publishes_the_same_event_again(#[case] on: On) {
    let app = TestApp::builder(on).relays(0).build().await;
    app.post(&fixtures::created(Uuid::new_v4())).await.assert_accepted();
    assert_aborted(app.role("relay").env("BANKLINK_FAULT", "before deleting").start()).await;
    let first = app.next_event().await;
    app.start_relay();
    let second = app.next_event().await;
    assert_eq!(first, second, "the same id, the same event");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_receives_sigterm_settles_its_deliveries(#[case] on: On) {
    let app = TestApp::start(on).await;
    let mut worker = app.role("worker").start();
    let entities: Vec<Uuid> = (0..200).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        app.publish_webhook(&fixtures::created(*entity)).await;
    }
    worker.until_log("consuming").await;
    assert_eq!(worker.terminate().await, 0, "{}", worker.log());
    // The app's own worker handles the rest.
    app.until_links(entities.len()).await;
    for _ in &entities {
        app.next_event().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_aborts_the_worker_every_time_dies_alone() {
    let app = TestApp::builder(On::Postgres).workers(0).delivery_limit(3).build().await;
    let mut aborting = fixtures::created(Uuid::new_v4());
    aborting["banklink_fault"] = json!("abort");
    let entities: Vec<Uuid> = (0..50).map(|_| Uuid::new_v4()).collect();
    for (index, entity) in entities.iter().enumerate() {
        if index == 25 {
            app.post(&aborting).await.assert_accepted();
        }
        app.post(&fixtures::created(*entity)).await.assert_accepted();
    }
    let mut crashes = 0;
    let mut worker = app.role("worker").start();
    let letter = loop {
        tokio::select! {
            _ = worker.ended() => {
                crashes += 1;
                worker = app.role("worker").start();
            }
            letters = app.until_dead(1) => break letters[0].clone(),
        }
    };
    assert_eq!(letter.failure_class, "delivery_limit");
    assert_eq!(Some(letter.entity_id), Some(Uuid::parse_str(aborting["payload"]["id"].as_str().unwrap()).ok()));
    assert!((3..=6).contains(&crashes), "{crashes} crashes at a limit of 3");
    app.wait_until_processed().await;
    assert_eq!(app.bank_links().await.len(), entities.len(), "every other webhook is applied");
    assert_eq!(app.dead_letters().await.len(), 1);
    assert_eq!(worker.terminate().await, 0);
}
