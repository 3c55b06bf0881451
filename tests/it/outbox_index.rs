//! The index of the outbox after many deletions.

use banklink::store::outbox_claims::{Due, claim};
use banklink::store::{Deadlines, IfMissing, Store};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use testkit::services::Services;
use testkit::waiting::eventually;

/// A store and a plain connection to a new schema, which no vacuum cleans up.
async fn open(services: &Services) -> (Store, DatabaseConnection) {
    let store = Store::open(&services.database_url, IfMissing::Create, Deadlines::default()).await.unwrap();
    migration::up(&store.connection(), "").await.unwrap();
    let database = Database::connect(&services.database_url).await.unwrap();
    database.execute_unprepared("ALTER TABLE outbox_events SET (autovacuum_enabled = off)").await.unwrap();
    (store, database)
}

/// SQL that appends this many events, deferred ones if they have refusals.
fn append(events: i64, refusals: i32) -> String {
    format!(
        "INSERT INTO outbox_events \
             (id, event_type, routing_key, entity_id, payload, received_at, created_at, refusals, retry_at) \
         SELECT gen_random_uuid(), 'a', 'a', gen_random_uuid(), '{{}}', now(), clock_timestamp(), \
             {refusals}, CASE WHEN {refusals} > 0 THEN now() + interval '1 h' END \
         FROM generate_series(1, {events})"
    )
}

/// How many entries of the index were read, after at least this many claims.
async fn entries_read(store: &Store, database: &DatabaseConnection, claims: i64) -> i64 {
    const FLUSH_STATISTICS: &str =
        "DO $$ BEGIN PERFORM pg_stat_force_next_flush(); EXCEPTION WHEN undefined_function THEN NULL; END $$";
    let count = "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'outbox_events_fresh'";
    eventually("the statistics of the index", async || {
        // Sessions count locally and publish the numbers on request; before PostgreSQL 15, after a while.
        store.connection().execute_unprepared(FLUSH_STATISTICS).await.unwrap();
        let row = database.query_one_raw(Statement::from_string(DbBackend::Postgres, count)).await.unwrap().unwrap();
        let (scans, read): (i64, i64) = row.try_get_many("", &["idx_scan".into(), "idx_tup_read".into()]).unwrap();
        (scans >= claims).then_some(read)
    })
    .await
}

/// Until the next vacuum the index of the outbox is full of deleted entries; a claim must not read all of them each time. On a
/// server of its own: a transaction that another test leaves open keeps the deleted entries alive.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_outbox_entries_are_read_once_and_not_by_every_claim() {
    const DELETED: i64 = 30_000;
    const WAITING: i64 = 40;
    const CLAIMS: i64 = 50;
    let services = Services::up("test-outbox-index", &["postgres"]).await;
    let (store, database) = open(&services).await;
    let past = [
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
        let claim = claim(&store, Due::New(None), 256).await.unwrap();
        assert_eq!(i64::try_from(claim.events.len()), Ok(WAITING));
        claim.finish(&[], &[]).await.unwrap();
    }
    let read = entries_read(&store, &database, CLAIMS).await;
    assert!(read < 3 * DELETED + CLAIMS * WAITING, "{read} entries were read by {CLAIMS} claims");
    database.close().await.unwrap();
    store.close().await;
}

/// While any transaction of the cluster is open that may see deleted entries, no claim can mark them as dead. A claim that begins where
/// the one before ended does not read them.
#[tokio::test(flavor = "multi_thread")]
async fn beside_an_open_transaction_a_claim_reads_only_what_follows_the_last_one() {
    const DELETED: i64 = 10_000;
    const CLAIMS: i64 = 50;
    let services = Services::up("test-outbox-open", &["postgres"]).await;
    let (store, database) = open(&services).await;
    let elsewhere = services.database_url.replace("/banklink", "/postgres");
    let foreign = Database::connect(elsewhere).await.unwrap().begin().await.unwrap();
    foreign.execute_unprepared("SELECT pg_current_xact_id()").await.unwrap();
    for sql in [append(DELETED, 0).as_str(), "DELETE FROM outbox_events", &append(CLAIMS, 0)] {
        database.execute_unprepared(sql).await.unwrap();
    }
    let mut from = None;
    for _ in 0..CLAIMS {
        let claim = claim(&store, Due::New(from), 1).await.unwrap();
        let (id, created_at) = (claim.events[0].id, claim.events[0].created_at);
        claim.finish(&[id], &[]).await.unwrap();
        from = Some(created_at);
    }
    let read = entries_read(&store, &database, CLAIMS).await;
    assert!(read < DELETED + 10 * CLAIMS, "{read} entries were read by {CLAIMS} claims");
    assert!(read >= DELETED, "the first claim reads all of them");
    foreign.rollback().await.unwrap();
    database.close().await.unwrap();
    store.close().await;
}
