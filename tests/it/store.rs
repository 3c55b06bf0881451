//! Conditional writes, round trips, and dead letters at the level of the store.

use banklink::domain::bank_link::{BankLink, FieldValue};
use banklink::domain::dead_letter::DeadMessage;
use banklink::domain::failure::{Failure, FailureClass};
use banklink::domain::field::Field;
use banklink::domain::outcome::Outcome;
use banklink::domain::timestamp::Timestamp;
use banklink::store::bank_links;
use banklink::store::letters::{self, Filter, ResolvedMessage};
use rstest::rstest;
use testkit::{On, TestApp};
use uuid::Uuid;

fn link(entity: Uuid, customer: &str, revision: i64) -> BankLink {
    let version = Timestamp::parse("2026-06-01T00:00:00.000000001Z").unwrap();
    let mut link = BankLink { revision, ..BankLink::empty(entity, version) };
    link.fields[Field::CustomerId as usize] = Some(FieldValue { timestamp: version, value: customer.to_owned() });
    link
}

/// Writes a bank link in one transaction; returns the ids that were written.
async fn write(app: &TestApp, link: &BankLink) -> Vec<Uuid> {
    let transaction = app.store.begin().await.unwrap();
    let written = bank_links::upsert(&transaction, &[link]).await.unwrap();
    transaction.commit().await.unwrap();
    written
}

/// The first death of a message with that id and body.
fn died(wire_id: &str, body: &'static str) -> DeadMessage {
    let at = Timestamp::parse("2026-06-01T00:00:00Z").unwrap();
    DeadMessage {
        wire_id: wire_id.to_owned(),
        body: body.into(),
        source: "lean".to_owned(),
        received_at: at,
        attempt: 1,
        replay: 0,
        edited_from: None,
        traceparent: None,
        failure: Failure::new(FailureClass::UnknownEntity, "for a test"),
        at,
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_write_based_on_an_old_revision_is_refused(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    assert_eq!(write(&app, &link(entity, "first", 1)).await, [entity]);
    assert_eq!(write(&app, &link(entity, "second", 2)).await, [entity]);
    assert!(write(&app, &link(entity, "also read the first", 2)).await.is_empty());
    assert!(write(&app, &link(entity, "thought it was new", 1)).await.is_empty());
    let row = app.bank_link(entity).await.unwrap();
    assert_eq!((row.customer_id.as_str(), row.revision), ("second", 2));
    assert!(row.created_at < row.updated_at, "created_at does not change");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_bank_link_is_read_as_it_was_written(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = Uuid::new_v4();
    let at = |nanos: i64| Timestamp::from_nanos(nanos).unwrap();
    let mut odd = BankLink {
        revision: 7,
        linked_at: Some(at(1)),
        reconnected_at: Some(at(1_000_000_001)),
        ..BankLink::empty(entity, at(1_000_000_003))
    };
    for (index, field) in odd.fields.iter_mut().enumerate() {
        let timestamp = at(i64::try_from(index).unwrap());
        *field = (index % 3 != 1).then(|| FieldValue { timestamp, value: format!("v{index}") });
    }
    odd.fields[Field::Permissions as usize] = None;
    for permissions in [
        None,
        Some(FieldValue { timestamp: at(0), value: "[]".to_owned() }),
        Some(FieldValue { timestamp: at(2), value: r#"["a"]"#.to_owned() }),
    ] {
        odd.fields[Field::Permissions as usize] = permissions;
        app.sql("DELETE FROM bank_links", "DELETE FROM bank_links").await;
        assert_eq!(write(&app, &odd).await, [entity]);
        let read = bank_links::read_committed(&app.store, &[entity]).await.unwrap();
        assert_eq!(read.get(&entity), Some(&odd));
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn two_replays_that_die_in_the_same_second_are_two_deaths(#[case] on: On) {
    let app = TestApp::start(on).await;
    let record = async |death: &DeadMessage| {
        let transaction = app.store.begin().await.unwrap();
        letters::record(&transaction, &[death]).await.unwrap();
        transaction.commit().await.unwrap();
        let letter = app.dead_letters().await.remove(0);
        (letter.state, letter.deaths)
    };
    let first = died("odd", "body");
    let second = DeadMessage { replay: 1, ..died("odd", "body") };
    let dead = |deaths| ("dead".to_owned(), deaths);
    assert_eq!(record(&first).await, dead(1));
    let selected = letters::select_dead(&app.store, &Filter::default()).await.unwrap();
    assert_eq!(letters::claim(&app.store, &selected, "a test").await.unwrap().len(), 1);
    assert_eq!(record(&first).await, ("replaying".to_owned(), 1), "an old copy");
    for _ in 0..2 {
        assert_eq!(record(&second).await, dead(2), "recorded once, however often it is repeated");
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn letters_with_the_same_id_are_resolved_by_their_body_in_one_batch(#[case] on: On) {
    let app = TestApp::start(on).await;
    let id = Uuid::now_v7().to_string();
    let transaction = app.store.begin().await.unwrap();
    let deaths = [died(&id, "first"), died(&id, "second"), died("odd", "third")];
    letters::record(&transaction, &deaths.each_ref()).await.unwrap();
    transaction.commit().await.unwrap();
    let selected = letters::select_dead(&app.store, &Filter::default()).await.unwrap();
    assert_eq!(letters::claim(&app.store, &selected, "a test").await.unwrap().len(), 3);

    let resolution = |wire_id: &str, body: &'static str, replay, outcome| ResolvedMessage {
        wire_id: wire_id.to_owned(),
        body: body.into(),
        received_at: Timestamp::EPOCH,
        replay,
        outcome,
    };
    let of_an_earlier_replay = resolution("odd", "third", 0, Outcome::Ignored);
    let resolutions = [
        resolution(&id, "first", 1, Outcome::Applied),
        resolution(&id, "second", 1, Outcome::Stale),
        resolution(&id, "of no letter", 1, Outcome::Ignored),
        of_an_earlier_replay,
    ];
    let transaction = app.store.begin().await.unwrap();
    letters::resolve(&transaction, &resolutions).await.unwrap();
    transaction.commit().await.unwrap();
    let mut letters: Vec<_> =
        app.dead_letters().await.into_iter().map(|letter| (letter.body, letter.state, letter.outcome)).collect();
    letters.sort();
    let as_text = |(body, state, outcome): &(Vec<u8>, String, Option<String>)| {
        format!("{} {state} {outcome:?}", String::from_utf8_lossy(body))
    };
    let resolved: Vec<String> = letters.iter().map(as_text).collect();
    assert_eq!(
        resolved,
        ["first resolved Some(\"applied\")", "second resolved Some(\"stale\")", "third replaying None"]
    );
}
