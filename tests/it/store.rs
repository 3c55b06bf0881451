//! What the database has to refuse, and what it has to keep.

use banklink::domain::bank_link::{BankLink, FieldValue};
use banklink::domain::dead_letter::DeadMessage;
use banklink::domain::failure::{Failure, FailureClass};
use banklink::domain::field::Field;
use banklink::domain::outcome::Outcome;
use banklink::domain::timestamp::Timestamp;
use banklink::store::bank_links;
use banklink::store::dead_letters::{self, Filter, ResolvedMessage};
use banklink::store::outbox::{Queue, claim};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use uuid::Uuid;

use crate::app::{On, Recipe, TestApp, on_both};
use crate::waiting::eventually;

fn link(entity: Uuid, customer: &str, revision: i64) -> BankLink {
    let version = Timestamp::parse("2026-06-01T00:00:00.000000001Z").unwrap();
    let mut link = BankLink { revision, ..BankLink::empty(entity, version) };
    link.fields[Field::CustomerId as usize] = Some(FieldValue { since: version, value: customer.to_owned() });
    link
}

/// Writes in a transaction of its own; the ids that were written.
async fn write(app: &TestApp, link: &BankLink) -> Vec<Uuid> {
    let transaction = app.store.begin().await.unwrap();
    let written = bank_links::upsert(&transaction, &[link]).await.unwrap();
    transaction.commit().await.unwrap();
    written
}

/// The end of a message of that id and body, the first of its lives.
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

on_both! {
    async fn a_write_that_is_based_on_an_old_reading_is_refused(app: TestApp) {
        let entity = Uuid::new_v4();
        assert_eq!(write(&app, &link(entity, "first", 1)).await, [entity]);
        assert_eq!(write(&app, &link(entity, "second", 2)).await, [entity]);
        assert!(write(&app, &link(entity, "also read the first", 2)).await.is_empty());
        assert!(write(&app, &link(entity, "thought it was new", 1)).await.is_empty());
        let row = app.bank_link(entity).await.unwrap();
        assert_eq!((row.customer_id.as_str(), row.revision), ("second", 2));
        assert!(row.created_at < row.updated_at, "the row's birth stays");
        app.finish().await;
    }

    async fn a_bank_link_comes_back_as_it_was_written(app: TestApp) {
        let entity = Uuid::new_v4();
        let at = |nanos: i64| Timestamp::from_nanos(nanos).unwrap();
        let mut odd = BankLink { revision: 7, linked_at: Some(at(1)), reconnected_at: Some(at(1_000_000_001)), ..BankLink::empty(entity, at(1_000_000_003)) };
        for (place, held) in odd.fields.iter_mut().enumerate() {
            let since = at(i64::try_from(place).unwrap());
            *held = (place % 3 != 1).then(|| FieldValue { since, value: format!("v{place}") });
        }
        odd.fields[Field::Permissions as usize] = None;
        for permissions in [None, Some(FieldValue { since: at(0), value: "[]".to_owned() }), Some(FieldValue { since: at(2), value: r#"["a"]"#.to_owned() })] {
            odd.fields[Field::Permissions as usize] = permissions;
            app.sql("DELETE FROM bank_links", "DELETE FROM bank_links").await;
            assert_eq!(write(&app, &odd).await, [entity]);
            let read = bank_links::look(&app.store, &[entity]).await.unwrap();
            assert_eq!(read.get(&entity), Some(&odd));
        }
        app.finish().await;
    }

    async fn two_lives_that_end_in_the_same_second_are_two_deaths(app: TestApp) {
        let record = async |death: &DeadMessage| {
            let transaction = app.store.begin().await.unwrap();
            dead_letters::record(&transaction, std::slice::from_ref(death)).await.unwrap();
            transaction.commit().await.unwrap();
            let letter = app.dead_letters().await.remove(0);
            (letter.state, letter.deaths)
        };
        let first = died("odd", "body");
        let second = DeadMessage { replay: 1, ..died("odd", "body") };
        let dead = |deaths| ("dead".to_owned(), deaths);
        assert_eq!(record(&first).await, dead(1));
        let chosen = dead_letters::select_dead(&app.store, &Filter::default()).await.unwrap();
        assert_eq!(dead_letters::claim(&app.store, &chosen, "a test").await.unwrap().len(), 1);
        assert_eq!(record(&first).await, ("replaying".to_owned(), 1), "an old copy");
        for _ in 0..2 {
            assert_eq!(record(&second).await, dead(2), "once, however often it is told of");
        }
        app.finish().await;
    }

    async fn letters_that_share_an_id_end_each_by_its_own_body_in_one_batch(app: TestApp) {
        let id = Uuid::now_v7().to_string();
        let transaction = app.store.begin().await.unwrap();
        dead_letters::record(&transaction, &[died(&id, "first"), died(&id, "second"), died("odd", "third")]).await.unwrap();
        transaction.commit().await.unwrap();
        let chosen = dead_letters::select_dead(&app.store, &Filter::default()).await.unwrap();
        assert_eq!(dead_letters::claim(&app.store, &chosen, "a test").await.unwrap().len(), 3);

        let resolution = |wire_id: &str, body: &'static str, replay, outcome| ResolvedMessage {
            wire_id: wire_id.to_owned(),
            body: body.into(),
            replay,
            outcome,
        };
        let of_an_earlier_life = resolution("odd", "third", 0, Outcome::Ignored);
        let resolutions = [
            resolution(&id, "first", 1, Outcome::Applied),
            resolution(&id, "second", 1, Outcome::Stale),
            resolution(&id, "of nobody", 1, Outcome::Ignored),
            of_an_earlier_life,
        ];
        let transaction = app.store.begin().await.unwrap();
        dead_letters::resolve(&transaction, &resolutions).await.unwrap();
        transaction.commit().await.unwrap();
        let mut ended: Vec<_> = app.dead_letters().await.into_iter().map(|letter| (letter.body, letter.state, letter.outcome)).collect();
        ended.sort();
        let as_text = |(body, state, outcome): &(Vec<u8>, String, Option<String>)| format!("{} {state} {outcome:?}", String::from_utf8_lossy(body));
        let told: Vec<String> = ended.iter().map(as_text).collect();
        assert_eq!(told, ["first resolved Some(\"applied\")", "second resolved Some(\"stale\")", "third replaying None"]);
        app.finish().await;
    }
}

/// The index of an outbox through which thousands go, and which PostgreSQL believes to be almost empty, is full of what was
/// deleted: whoever claims must not read all of it each time.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_from_the_outbox_is_passed_over_once_and_not_by_every_claim() {
    const DELETED: i64 = 30_000;
    const WAITING: i64 = 40;
    const CLAIMS: i64 = 50;
    let app = Recipe { workers: 0, relays: 0, ..Recipe::on(On::Postgres) }.start().await;
    let database = Database::connect(app.database_url()).await.unwrap();
    let append = |events: i64, refusals: i32| {
        format!(
            "INSERT INTO outbox_events \
                 (id, event_type, routing_key, entity_id, payload, received_at, created_at, refusals, retry_at) \
             SELECT gen_random_uuid(), 'a', 'a', gen_random_uuid(), '{{}}', now(), clock_timestamp(), \
                 {refusals}, CASE WHEN {refusals} > 0 THEN now() + interval '1 h' END \
             FROM generate_series(1, {events})"
        )
    };
    let past = [
        "ALTER TABLE outbox_events SET (autovacuum_enabled = off)",
        &append(DELETED, 0),
        "DELETE FROM outbox_events",
        &append(WAITING, 0),
        &append(2 * WAITING, 1),
        "ANALYZE outbox_events",
    ];
    for sql in past {
        database.execute_unprepared(sql).await.unwrap();
    }
    for _ in 0..CLAIMS {
        let claim = claim(&app.store, Queue::New, 256).await.unwrap();
        assert_eq!(i64::try_from(claim.events.len()), Ok(WAITING));
        claim.finish(&[], &[]).await.unwrap();
    }
    const TELL: &str =
        "DO $$ BEGIN PERFORM pg_stat_force_next_flush(); EXCEPTION WHEN undefined_function THEN NULL; END $$";
    let count = "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'outbox_events_fresh'";
    let read = eventually("the server's count of what was read", async || {
        // Its sessions count for themselves, and tell when they are asked to, or, before PostgreSQL 15, after a while.
        app.sql("", TELL).await;
        let row = database.query_one_raw(Statement::from_string(DbBackend::Postgres, count)).await.unwrap().unwrap();
        let (scans, read): (i64, i64) = row.try_get_many("", &["idx_scan".into(), "idx_tup_read".into()]).unwrap();
        (scans >= CLAIMS).then_some(read)
    })
    .await;
    assert!(read < 3 * DELETED + CLAIMS * WAITING, "{read} entries were read by {CLAIMS} claims");
    database.close().await.unwrap();
    app.finish().await;
}
