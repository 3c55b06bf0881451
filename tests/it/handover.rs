//! Events that a worker hands to the relay of its own process: under a lease, no relay claims them.

use std::time::Duration;

use banklink::domain::event::Event;
use banklink::domain::timestamp::Timestamp;
use banklink::store::handover::{Handover, Reservation};
use banklink::store::outbox::{NewEvent, append};
use banklink::store::outbox_claims::{Due, claim};
use rstest::rstest;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::json;
use testkit::waiting::{until, within};
use testkit::{On, Slow, TestApp, fixtures};
use uuid::Uuid;

fn event(id: Uuid, payload: &str) -> NewEvent {
    let json = serde_json::to_string(payload).unwrap();
    let event = Event { id, event_type: "customer.bank_linked", entity_id: Uuid::new_v4(), json };
    NewEvent { event, received_at: Timestamp::now(), traceparent: None }
}

/// Writes an event under the lease of `reservation`, if there is one.
async fn write(app: &TestApp, reservation: Option<&Reservation>, new: &NewEvent) {
    let transaction = app.store.begin().await.unwrap();
    append(&transaction, std::slice::from_ref(new), reservation.map(Reservation::leased_until)).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn write_and_hand_over(app: &TestApp, handover: &Handover, new: NewEvent) {
    let reservation = handover.reserve().expect("a relay receives");
    write(app, Some(&reservation), &new).await;
    reservation.hand_over(vec![new]);
}

/// How many events any relay can claim now. They are released again.
async fn claimable(app: &TestApp) -> usize {
    claim(&app.store, Due::New(None), 100).await.unwrap().events.len()
}

async fn end_leases(app: &TestApp) {
    let sqlite = "UPDATE outbox_events SET leased_until = '2026-01-01T00:00:00+00:00'";
    app.sql(sqlite, "UPDATE outbox_events SET leased_until = now()").await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn leased_events_are_claimed_by_no_relay_until_they_are_released_or_the_lease_ends(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).relays(0).unsubscribed().build().await;
    let handover = Handover::default();
    let mut handed_over = handover.receive();
    let ids = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    for id in ids {
        write_and_hand_over(&app, &handover, event(id, "as it was written")).await;
    }
    assert_eq!(claimable(&app).await, 0, "leased");

    let leased = within(handed_over.next(&app.store)).await.unwrap();
    assert_eq!(leased.events.iter().map(|event| event.id).collect::<Vec<_>>(), ids, "together, in their order");
    assert_eq!(leased.events[0].json, r#""as it was written""#);
    leased.finish(&[ids[0]], &[(ids[1], Duration::from_secs(60))]).await.unwrap();
    let outbox = app.outbox().await;
    let deferred = outbox.iter().find(|event| event.id == ids[1]).unwrap();
    assert_eq!((outbox.len(), deferred.refusals), (2, 1), "one was published, one refused");
    assert_eq!(claimable(&app).await, 1, "the rest is released at once");

    write_and_hand_over(&app, &handover, event(Uuid::new_v4(), "of a process that is killed")).await;
    assert_eq!(claimable(&app).await, 1);
    end_leases(&app).await;
    assert_eq!(claimable(&app).await, 2);
    app.finish_with_leftovers().await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_written_again_meanwhile_stays(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).relays(0).unsubscribed().build().await;
    let handover = Handover::default();
    let mut handed_over = handover.receive();
    let id = Uuid::new_v4();
    write_and_hand_over(&app, &handover, event(id, "older")).await;
    write(&app, None, &event(id, "newer, by another process")).await;
    within(handed_over.next(&app.store)).await.unwrap().finish(&[id], &[]).await.unwrap();
    let left = claim(&app.store, Due::New(None), 100).await.unwrap();
    assert_eq!(left.events[0].json, r#""newer, by another process""#);
    left.finish(&[id], &[]).await.unwrap();
    assert!(app.outbox().await.is_empty());
    app.finish_with_leftovers().await;
}

#[tokio::test]
async fn without_a_relay_that_keeps_up_nothing_is_handed_over() {
    let handover = Handover::default();
    assert!(handover.reserve().is_none(), "no relay");
    let handed_over = handover.receive();
    let reserved: Vec<Reservation> = std::iter::from_fn(|| handover.reserve()).take(1_000).collect();
    assert!((1..1_000).contains(&reserved.len()), "{} places", reserved.len());
    drop(reserved);
    assert!(handover.reserve().is_some(), "places that are not used are free again");
    drop(handed_over);
    assert!(handover.reserve().is_none(), "the relay has ended");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_when_the_relay_ends_is_still_published(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).relays(0).unsubscribed().build().await;
    let handover = Handover::default();
    let mut handed_over = handover.receive();
    let (used, unused) = (handover.reserve().unwrap(), handover.reserve().unwrap());
    handed_over.close();
    assert!(handover.reserve().is_none(), "closed");
    drop(unused);
    used.hand_over(vec![event(Uuid::new_v4(), "the last")]);
    assert_eq!(within(handed_over.next(&app.store)).await.unwrap().events.len(), 1);
    assert!(within(handed_over.next(&app.store)).await.is_none(), "nothing more can come");
    app.finish().await;
}

/// They are free for other relays once the lease has ended.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_with_leased_events_leaves_them_to_the_next(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).relays(0).build().await;
    let entity = Uuid::new_v4();
    let all_roles = app.all_roles().env("BANKLINK_FAULT", "before deleting");
    let mut dying = all_roles.start();
    app.publish_webhook(&fixtures::created(entity)).await;
    assert_eq!(dying.ended().await, -1, "{}", dying.log());
    let first = app.next_event().await;
    assert!(app.outbox().await[0].leased_until.is_some(), "it was handed over");
    app.start_relay();
    assert_eq!(app.next_event().await, first, "the same id, the same event");
    assert_eq!(first["data"]["entity_id"], json!(entity));
    app.until_outbox_is_empty().await;
}

/// If events waited for that, the second one would arrive only once the deletion of the first has been given up: the lock is held until then.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_published_while_those_before_are_deleted() {
    let builder = TestApp::builder(On::Postgres);
    let app = builder.lock_deadline(Duration::from_secs(8)).silence_deadline(Duration::from_secs(16)).build().await;
    let [first, second] = [Uuid::new_v4(), Uuid::new_v4()];
    app.delay(Slow::DeleteEvent, first, "PERFORM pg_advisory_xact_lock(1);").await;
    let other_session = Database::connect(app.database_url()).await.unwrap();
    let lock = other_session.begin().await.unwrap();
    lock.execute_unprepared("SELECT pg_advisory_xact_lock(1)").await.unwrap();

    app.publish_webhook(&fixtures::created(first)).await;
    assert_eq!(app.next_event().await["data"]["entity_id"], json!(first));
    until("the first event's deletion", async || app.is_waiting_for("advisory").await).await;
    assert!(app.outbox().await[0].leased_until.is_some(), "it was handed over");
    app.publish_webhook(&fixtures::created(second)).await;
    assert_eq!(app.next_event().await["data"]["entity_id"], json!(second));
    assert!(app.is_waiting_for("advisory").await, "the first event's deletion has ended");
    lock.commit().await.unwrap();
    app.until_outbox_is_empty().await;
    other_session.close().await.unwrap();
}
